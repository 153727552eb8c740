//! Pure: metadata are valid, for some time yet, and are not too large to be read.

use chrono::{DateTime, SecondsFormat, Utc};

use super::super::facts::{FolderFacts, RoleFacts, Yardstick};
use super::super::finding::{About, Finding};
use super::super::rule::Rule;
use super::about_folder;
use crate::repository::transport::MetadataLimits;

const TIMESTAMP: &str = "timestamp";

pub(super) fn judge(folder: &FolderFacts, by: &Yardstick, findings: &mut Vec<Finding>) {
    let of_timestamp = folder
        .roles
        .iter()
        .find(|facts| facts.role == TIMESTAMP)
        .map(|facts| facts.expires);
    for facts in &folder.roles {
        let RoleFacts {
            role,
            expires,
            bytes,
        } = *facts;
        let mut find = |rule, problem: String| {
            let about = About {
                role: Some(role),
                ..about_folder(folder)
            };
            findings.push(Finding::new(rule, about, problem));
        };
        let horizon = if role == TIMESTAMP {
            by.timestamp_horizon
        } else {
            by.horizon
        };
        if expires <= by.now {
            find(
                Rule::Expired,
                format!("{role} expired at {}", text(expires)),
            );
        } else if horizon.after(by.now).is_none_or(|end| expires < end) {
            let problem = format!(
                "{role} expires at {}, in less than {horizon}",
                text(expires)
            );
            find(Rule::ExpiresSoon, problem);
        }
        if let Some(timestamp) = of_timestamp.filter(|timestamp| expires < *timestamp) {
            let problem = format!(
                "{role} expires at {}, before the timestamp at {}",
                text(expires),
                text(timestamp)
            );
            find(Rule::ExpiryOrder, problem);
        }
        let limit = limit_of(role);
        if let Some(bytes) = bytes.filter(|bytes| *bytes > limit) {
            let problem = format!("the {role} metadata have {bytes} bytes, hosts read {limit}");
            find(Rule::MetadataSize, problem);
        }
    }
}

/// What hosts read of a role's metadata, unless they are configured otherwise.
fn limit_of(role: &str) -> u64 {
    let limits = MetadataLimits::default();
    match role {
        "root" | TIMESTAMP => limits.root,
        _ => limits.metadata,
    }
}

fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
