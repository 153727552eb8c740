//! `raw`: any request, for scripts and fleet agents.

use std::str::FromStr as _;

use hyper::Method;
use hyper::header::HeaderName;
use hyper::http::uri::PathAndQuery;

use super::command::Client;
use super::connection::{ANSWER_LIMIT, Ask};
use super::failure::Failure;
use super::output;

/// What is asked to take its time.
const ACTIONS: &str = "/actions/";
/// RFC 7240. Our server then answers when the command has ended, so that an agent which looks at the
/// status right after that finds it done; another one takes no notice. The day is what nothing lasts.
const PREFER: (HeaderName, &str) = (HeaderName::from_static("prefer"), "wait=86400");

/// A request as typed.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(super) struct RawArgs {
    /// What to ask for: /updates/status
    #[arg(short, long, value_name = "URI", value_parser = parse_uri)]
    uri: PathAndQuery,
    /// The method
    #[arg(short, long, visible_short_alias = 'X', value_name = "METHOD", default_value = "GET", value_parser = parse_method)]
    method: Method,
    /// The body of the request, JSON
    #[arg(short, long, value_name = "JSON")]
    data: Option<String>,
    /// POST to /actions/: do not ask for the answer to come only when the command has ended
    #[arg(long)]
    no_wait: bool,
}

/// Asks, and prints the body of the answer.
pub(super) async fn raw(client: &Client, args: RawArgs) -> Result<(), Failure> {
    let answer = client.ask(&ask(args), ANSWER_LIMIT).await?;
    if answer.body.is_empty() {
        return Ok(());
    }
    output::bytes(&answer.body)
}

fn ask(args: RawArgs) -> Ask {
    let waits = args.method == Method::POST && args.uri.path().starts_with(ACTIONS);
    let mut ask = Ask::new(args.method, args.uri);
    ask.data = args.data;
    ask.header = (waits && !args.no_wait).then_some(PREFER);
    ask
}

fn parse_uri(typed: &str) -> Result<PathAndQuery, String> {
    let slash = if typed.starts_with('/') { "" } else { "/" };
    PathAndQuery::from_str(&format!("{slash}{typed}")).map_err(|error| error.to_string())
}

fn parse_method(typed: &str) -> Result<Method, String> {
    match Method::from_str(&typed.to_ascii_uppercase()) {
        Ok(Method::CONNECT) => Err("it asks for a tunnel, not for an answer".to_owned()),
        Ok(method) => Ok(method),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_becomes_a_path() {
        for (typed, expected) in [
            ("/os", Some("/os")),
            ("os", Some("/os")),
            ("", Some("/")),
            (
                "settings?prefix=a.b&x=%20",
                Some("/settings?prefix=a.b&x=%20"),
            ),
            ("/os\r\nx: y", None),
            ("/a b", None),
        ] {
            let found = parse_uri(typed).ok();
            assert_eq!(
                found.as_ref().map(PathAndQuery::as_str),
                expected,
                "{typed}"
            );
        }
    }

    #[test]
    fn only_what_takes_time_is_waited_for() {
        for (method, uri, no_wait, expected) in [
            ("POST", "/actions/prepare-update", false, Some("wait=86400")),
            ("post", "actions/refresh-updates", false, Some("wait=86400")),
            ("POST", "/actions/prepare-update", true, None),
            ("GET", "/actions/prepare-update", false, None),
            ("POST", "/tx/commit", false, None),
        ] {
            let args = RawArgs {
                uri: parse_uri(uri).unwrap(),
                method: parse_method(method).unwrap(),
                data: None,
                no_wait,
            };
            let found = ask(args).header.map(|(_, value)| value);
            assert_eq!(found, expected, "{method} {uri} {no_wait}");
        }
    }
}
