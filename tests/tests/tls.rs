//! Whom a client trusts, who it says it is, and through whom it goes: TLS servers and proxies.
//! Certificates come from `openssl`.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;
use std::path::{Path, PathBuf};

use system_tests::client::Client;
use system_tests::programs::Ran;
use system_tests::proxy::Proxy;
use system_tests::publisher::{ARCH, Publisher, VARIANT};
use system_tests::server::{Fault, Server};
use system_tests::tls::{Authority, Issued};

/// A host name that only a proxy knows.
const ELSEWHERE: &str = "updates.example";

/// A publisher's repository over TLS, for this address and for [`ELSEWHERE`].
struct Secure {
    publisher: Publisher,
    authority: Authority,
    issued: Issued,
    server: Server,
}

impl Secure {
    fn new(test: &str) -> Option<Self> {
        let authority = Authority::new(test)?;
        let publisher = Publisher::new();
        publisher.release("1.0.0");
        let issued = authority.issue(
            "server",
            &format!("IP:127.0.0.1,DNS:localhost,DNS:{ELSEWHERE}"),
        );
        let server = Server::start_tls(&publisher.repo(), Authority::server(&issued));
        Some(Self {
            publisher,
            authority,
            issued,
            server,
        })
    }

    /// A server that lets in whom the authority knows.
    fn strict(&self) -> Server {
        Server::start_tls(
            &self.publisher.repo(),
            self.authority.strict_server(&self.issued),
        )
    }

    fn client(&self, base: &str) -> Client {
        Client::new(&self.publisher, base)
    }

    /// The line that trusts the authority.
    fn trust(&self) -> String {
        key("ca_file", &self.authority.certificate())
    }
}

fn key(key: &str, path: &Path) -> String {
    format!("{key} = \"{}\"\n", path.display())
}

#[test]
fn an_authority_of_ones_own_is_trusted_besides_the_systems() {
    let Some(secure) = Secure::new("an_authority_of_ones_own_is_trusted_besides_the_systems")
    else {
        return;
    };
    let client = secure.client(&secure.server.url());
    // Without it the answer comes at once: no retry makes a stranger known.
    client
        .updog(&["refresh"])
        .expect(1)
        .says("UnknownIssuer")
        .says("ca_file names authorities to trust besides the system's");
    assert_eq!(secure.server.seen(), []);
    client.configure(&secure.trust());
    client.updog(&["refresh"]).done();
    assert!(!secure.server.seen().is_empty());
}

#[test]
fn a_certificate_for_another_host_is_refused() {
    let Some(secure) = Secure::new("a_certificate_for_another_host_is_refused") else {
        return;
    };
    let other = secure.authority.issue("other", "DNS:other.example");
    let server = Server::start_tls(&secure.publisher.repo(), Authority::server(&other));
    let client = secure.client(&server.url());
    client.configure(&secure.trust());
    client
        .updog(&["refresh"])
        .expect(1)
        .says("certificate not valid for name");
    assert_eq!(server.seen(), []);
}

#[test]
fn a_server_that_asks_who_we_are_is_told_and_lets_us_in() {
    let Some(secure) = Secure::new("a_server_that_asks_who_we_are_is_told_and_lets_us_in") else {
        return;
    };
    let server = secure.strict();
    let client = secure.client(&server.url());
    client.configure(&secure.trust());
    client
        .updog(&["refresh"])
        .expect(1)
        .says("the server does not accept who we are: see client_certificate and client_key");
    assert_eq!(server.seen(), []);

    let us = secure.authority.issue("us", "DNS:host-1.example");
    let with = |certificate: &Path, private: &Path| {
        let trust = secure.trust();
        let certificate = key("client_certificate", certificate);
        client.configure(&format!(
            "{trust}{certificate}{}",
            key("client_key", private)
        ));
        client.updog(&["refresh"])
    };
    with(&us.certificate, &us.key).done();
    assert!(!server.seen().is_empty());

    // Somebody whom this authority does not know.
    let strangers = Authority::new("a stranger").unwrap();
    let stranger = strangers.issue("stranger", "DNS:host-1.example");
    with(&stranger.certificate, &stranger.key)
        .expect(1)
        .says("the server does not accept who we are");
    assert_eq!(server.seen(), []);
}

#[test]
fn files_for_tls_that_are_wrong_are_named_before_anything_is_asked_for() {
    let Some(secure) =
        Secure::new("files_for_tls_that_are_wrong_are_named_before_anything_is_asked_for")
    else {
        return;
    };
    let client = secure.client(&secure.server.url());
    let us = secure.authority.issue("us", "DNS:host-1.example");
    let file = |name: &str, content: &str| -> PathBuf {
        fs::write(client.path(name), content).unwrap();
        client.path(name)
    };
    let text = file("text", "no PEM at all\n");
    let torn = file("torn", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let empty = file("empty", empty);
    let absent = client.path("absent");
    let pair = |certificate: &Path, private: &Path| {
        key("client_certificate", certificate) + &key("client_key", private)
    };
    for (lines, said) in [
        (
            key("ca_file", &absent),
            "absent, the value of key 'ca_file'",
        ),
        (
            key("ca_file", &text),
            "text, the value of key 'ca_file', holds no certificate",
        ),
        (
            key("ca_file", &torn),
            "torn, the value of key 'ca_file', is not PEM",
        ),
        (
            key("ca_file", &empty),
            "empty, the value of key 'ca_file', holds no usable authority",
        ),
        (
            key("client_certificate", &us.certificate),
            "updog.toml:6: key 'client_certificate': needs 'client_key'",
        ),
        (
            key("client_key", &us.key),
            "updog.toml:6: key 'client_key': needs 'client_certificate'",
        ),
        (
            pair(&text, &us.key),
            "text, the value of key 'client_certificate', holds no",
        ),
        (
            pair(&us.certificate, &absent),
            "absent, the value of key 'client_key'",
        ),
        (
            pair(&us.certificate, &us.certificate),
            "holds no private key in PEM",
        ),
        (
            pair(&us.certificate, &secure.issued.key),
            "are no certificate and its private key",
        ),
    ] {
        client.configure(&lines);
        let ran = client.updog(&["refresh"]).expect(1);
        assert!(ran.stderr.contains(said), "{said}\n{}", ran.stderr);
        assert!(!ran.stderr.contains("PRIVATE"), "{}", ran.stderr);
    }
    assert_eq!(secure.server.seen(), []);
}

#[test]
fn nobody_is_sent_from_https_to_an_unprotected_address() {
    let Some(secure) = Secure::new("nobody_is_sent_from_https_to_an_unprotected_address") else {
        return;
    };
    let plain = Server::start(&secure.publisher.repo());
    let client = secure.client(&secure.server.url());
    client.configure(&secure.trust());
    let to = format!("{}/{VARIANT}/{ARCH}/timestamp.json", plain.url());
    secure
        .server
        .fault("timestamp.json", Fault::Redirect(to), 1);
    client
        .updog(&["refresh"])
        .expect(1)
        .says("redirected from https to an unprotected address");
    assert_eq!(plain.seen(), []);
}

#[test]
fn a_proxy_is_taken_from_the_configuration_or_the_environment() {
    let Some(secure) = Secure::new("a_proxy_is_taken_from_the_configuration_or_the_environment")
    else {
        return;
    };
    let proxy = Proxy::start(secure.server.address());
    let client = secure.client(&format!("https://{ELSEWHERE}"));
    let run = |more: &str, variables: &[(&str, String)]| -> Ran {
        client.configure(&(secure.trust() + more));
        let mut command = client.command(&["refresh"]);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        Ran::of(&mut command)
    };
    let http = format!("http://{}", proxy.address());
    for (more, variables) in [
        (format!("https_proxy = \"{http}\"\n"), vec![]),
        (format!("https_proxy = \"{}\"\n", proxy.address()), vec![]),
        (String::new(), vec![("HTTPS_PROXY", http.clone())]),
        (String::new(), vec![("https_proxy", http.clone())]),
        (
            "https_proxy = \"\"\n".to_owned(),
            vec![("HTTPS_PROXY", http.clone())],
        ),
        // What is configured counts before the environment.
        (
            format!("https_proxy = \"{http}\"\n"),
            vec![("HTTPS_PROXY", "http://127.0.0.1:1".to_owned())],
        ),
        (
            format!("https_proxy = \"{http}\"\nno_proxy = [\"other.example\"]\n"),
            vec![("NO_PROXY", ELSEWHERE.to_owned())],
        ),
    ] {
        run(&more, &variables).done();
        let seen = proxy.seen();
        assert!(!seen.is_empty(), "{more}{variables:?}");
        for tunnel in seen {
            assert_eq!(tunnel.to, format!("{ELSEWHERE}:443"));
            assert_eq!(tunnel.authorization, None);
        }
    }
}

#[test]
fn hosts_without_a_proxy_are_reached_directly() {
    let Some(secure) = Secure::new("hosts_without_a_proxy_are_reached_directly") else {
        return;
    };
    let proxy = Proxy::start(secure.server.address());
    // `*` means names, not addresses.
    let port = secure.server.address().port();
    let client = secure.client(&format!("https://localhost:{port}"));
    let http = format!("http://{}", proxy.address());
    let configured = format!("https_proxy = \"{http}\"\n");
    for (more, variables) in [
        (configured.clone() + "no_proxy = [\"localhost\"]\n", vec![]),
        (
            configured.clone(),
            vec![("NO_PROXY", "localhost".to_owned())],
        ),
        (
            configured,
            vec![("no_proxy", "x.example, .localhost".to_owned())],
        ),
        (
            String::new(),
            vec![
                ("HTTPS_PROXY", http.clone()),
                ("NO_PROXY", "localhost".to_owned()),
            ],
        ),
        (
            String::new(),
            vec![("https_proxy", http.clone()), ("no_proxy", "*".to_owned())],
        ),
    ] {
        client.configure(&(secure.trust() + &more));
        let mut command = client.command(&["refresh"]);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        Ran::of(&mut command).done();
        assert_eq!(proxy.seen(), [], "{more}{variables:?}");
    }
}

#[test]
fn a_proxys_password_goes_to_the_proxy_and_nowhere_else() {
    let Some(secure) = Secure::new("a_proxys_password_goes_to_the_proxy_and_nowhere_else") else {
        return;
    };
    let proxy = Proxy::start(secure.server.address());
    let client = secure.client(&format!("https://{ELSEWHERE}"));
    let to = |address: &str| {
        let line = format!("https_proxy = \"http://user:s3cret@{address}\"\n");
        client.configure(&(secure.trust() + &line + "outage_timeout_seconds = 1\n"));
        client.updog(&["refresh"])
    };
    to(&proxy.address()).done();
    for tunnel in proxy.seen() {
        let sent = tunnel.authorization.unwrap();
        assert_eq!(sent, "Basic dXNlcjpzM2NyZXQ=");
    }
    for request in secure.server.seen() {
        assert!(!request.headers.contains_key("proxy-authorization"));
    }
    // A proxy that is down.
    let ran = to("127.0.0.1:1").expect(1);
    assert!(!ran.stderr.contains("s3cret"), "{}", ran.stderr);
}
