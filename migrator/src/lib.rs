#![doc = include_str!("../README.md")]

pub mod datastore;
#[cfg(feature = "program")]
pub mod document;
#[cfg(feature = "program")]
pub mod kept;
pub mod key;
pub mod migration;

#[cfg(test)]
mod testing;

#[cfg(feature = "program")]
mod attempt;
#[cfg(feature = "program")]
pub mod changes;
#[cfg(feature = "program")]
pub mod cli;
#[cfg(feature = "program")]
pub mod folder;
#[cfg(feature = "program")]
pub mod host;
#[cfg(feature = "program")]
pub mod links;
#[cfg(feature = "program")]
pub mod plan;
#[cfg(feature = "program")]
pub mod prune;
#[cfg(feature = "program")]
pub mod record;
#[cfg(feature = "program")]
pub mod rehearse;
#[cfg(feature = "program")]
pub mod repository;
#[cfg(feature = "program")]
pub mod room;
#[cfg(feature = "program")]
pub mod run;
#[cfg(feature = "program")]
pub mod runner;
#[cfg(feature = "program")]
pub mod sandbox;
#[cfg(feature = "program")]
pub mod status;
#[cfg(feature = "program")]
pub mod steps;
