//! What is counted since the server began.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::updates::Command;
use crate::event::Step;
use crate::exit::Exit;

/// Counters; clones count together.
#[derive(Debug, Clone, Default)]
pub(super) struct Meters {
    commands: Family<EndLabels, Counter>,
    seconds: Family<CommandLabels, Counter<f64, AtomicU64>>,
    bytes: Family<BytesLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    command: Command,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CommandLabels {
    command: Command,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BytesLabels {
    what: &'static str,
}

impl EncodeLabelValue for Command {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.to_string().encode(encoder)
    }
}

impl Meters {
    /// A command has ended after so long.
    pub(super) fn ended(&self, command: Command, exit: Exit, took: Duration) {
        let outcome = exit.name();
        self.commands
            .get_or_create(&EndLabels { command, outcome })
            .inc();
        self.seconds
            .get_or_create(&CommandLabels { command })
            .inc_by(took.as_secs_f64());
    }

    /// So many bytes of `step` have gone by.
    pub(super) fn bytes(&self, step: &Step, bytes: u64) {
        let what = match step {
            Step::Fetch { .. } | Step::Write { .. } => "fetched",
            Step::ReadBack { .. } | Step::Verify { .. } => "verified",
            Step::Assemble { .. } => "written",
            Step::Refresh | Step::CacheMigrations | Step::Rehearse | Step::Survey { .. } => return,
        };
        self.count(what, bytes);
    }

    /// So many bytes were fetched to put an image together from its blocks.
    pub(super) fn fetched(&self, bytes: u64) {
        self.count("fetched", bytes);
    }

    fn count(&self, what: &'static str, bytes: u64) {
        self.bytes
            .get_or_create(&BytesLabels { what })
            .inc_by(bytes);
    }

    /// Adds all of them to `registry`.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "commands",
            "Commands that ended since the server began",
            self.commands.clone(),
        );
        registry.register_with_unit(
            "command_duration",
            "How long commands took in all since the server began",
            Unit::Seconds,
            self.seconds.clone(),
        );
        registry.register_with_unit(
            "image",
            "Compressed bytes that were fetched, and bytes of images that were read and compared, \
             since the server began",
            Unit::Bytes,
            self.bytes.clone(),
        );
    }
}
