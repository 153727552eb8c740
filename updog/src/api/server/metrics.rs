//! `GET /metrics`: how this host stands, for Prometheus, in the text format of `OpenMetrics`.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::answer::Failure;
use super::router::Api;
use crate::api::updates::{UpdateState, UpdatesStatus};
use crate::cancel::Cancel;
use crate::session::status::HostStatus;
use crate::session::{self, machine};

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Says of one of several that it is so.
type Flags = Family<StateLabel, Gauge<i64, AtomicI64>>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SetLabels {
    set: String,
    variant: String,
    version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RoleLabel {
    role: String,
}

pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Result<impl IntoResponse, Failure> {
    let engine = api.engine.clone();
    let write = move || {
        let env = engine.look(Cancel::default())?;
        let mut registry = Registry::with_prefix("updog");
        host(&mut registry, &session::host_status(&env));
        updates_status(&mut registry, &engine.status()?);
        engine.meters().register(&mut registry);
        let mut text = String::new();
        text::encode(&mut text, &registry).map_err(|error| Failure::internal(&error))?;
        Ok::<_, Failure>(text)
    };
    let text = api.looks.look(write).await??;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text))
}

fn host(registry: &mut Registry, host: &HostStatus) {
    let engine = [("version", env!("CARGO_PKG_VERSION"))];
    registry.register("engine", "This program", Info::new(engine));
    if let Some(running) = host.running.known() {
        let labels = [
            ("variant", running.variant.clone()),
            ("arch", running.arch.to_owned()),
            ("version", running.version.to_string()),
        ];
        registry.register("running", "What runs", Info::new(labels));
    }
    if let Some(disk) = host.disk.known() {
        let states = Flags::default();
        for state in machine::State::ALL {
            flag(&states, state.name(), disk.state == state);
        }
        registry.register("boot_state", "What the boot bits mean", states);
        let holds = Family::<SetLabels, Gauge>::default();
        for (slot, set) in disk.sets.iter() {
            let Some(contents) = set.contents.known() else {
                continue;
            };
            let labels = SetLabels {
                set: slot.to_string(),
                variant: contents.variant.clone().unwrap_or_default(),
                version: contents
                    .version
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            };
            holds.get_or_create(&labels).set(i64::from(set.boots_next));
        }
        let help = "What each set holds; 1 of the one that boots next";
        registry.register("set_boots_next", help, holds);
        let damaged = Gauge::<i64, AtomicI64>::default();
        damaged.set(i64::from(disk.table_damage.is_some()));
        let help = "Whether a copy of the partition table is damaged";
        registry.register("partition_table_damaged", help, damaged);
    }
    if let Some(tried) = host.history.known() {
        let held = Gauge::<i64, AtomicI64>::default();
        held.set(i64::try_from(tried.holds.len()).unwrap_or(i64::MAX));
        registry.register("held_versions", "Versions that are not taken again", held);
    }
    if let Some(trust) = host.repository.trust.known() {
        let expiry = Family::<RoleLabel, Gauge>::default();
        for role in &trust.roles {
            let label = RoleLabel {
                role: role.role.role.to_string(),
            };
            expiry
                .get_or_create(&label)
                .set(role.role.expires.timestamp());
        }
        registry.register_with_unit(
            "metadata_expiry_timestamp",
            "When the trusted metadata expire, in Unix time",
            Unit::Seconds,
            expiry,
        );
        if let Some(refreshed) = trust.refreshed {
            let last = Gauge::<i64, AtomicI64>::default();
            last.set(refreshed.timestamp());
            registry.register_with_unit(
                "last_refresh_timestamp",
                "The last refresh that succeeded, in Unix time",
                Unit::Seconds,
                last,
            );
        }
    }
}

fn updates_status(registry: &mut Registry, updates: &UpdatesStatus) {
    let states = Flags::default();
    for state in UpdateState::ALL {
        flag(&states, &state.to_string(), updates.update_state == state);
    }
    registry.register("update_state", "How far an update is", states);
    if let Some(chosen) = &updates.chosen_update {
        let labels = [("version", chosen.version.to_string())];
        registry.register("chosen_update", "What would be taken", Info::new(labels));
    }
    let running = Gauge::<i64, AtomicI64>::default();
    running.set(i64::from(updates.running_command.is_some()));
    registry.register("command_running", "Whether a command is under way", running);
    if let Some(last) = &updates.last_outcome {
        let at = Gauge::<i64, AtomicI64>::default();
        at.set(last.at.timestamp());
        registry.register_with_unit(
            "last_command_timestamp",
            "When the last command ended, in Unix time",
            Unit::Seconds,
            at,
        );
        let labels = [
            ("command", last.command.to_string()),
            ("outcome", last.outcome.clone()),
        ];
        let help = "How the last command ended";
        registry.register("last_command", help, Info::new(labels));
    }
}

fn flag(flags: &Flags, state: &str, is_so: bool) {
    let state = state.to_owned();
    flags
        .get_or_create(&StateLabel { state })
        .set(i64::from(is_so));
}
