//! Pure: which migrations a release adds, so that a host can get to it and away from it.
//!
//! An edge from a lower to a higher version serves both directions. What the publisher does not
//! state is inferred only where nothing is guessed:
//!
//! * Without a migration to the new version, its settings have the form of the published version
//!   just below it: an empty edge from there.
//! * If the new version stands between published ones, hosts on it must still get up to the next.
//!   Where its settings have the form of the version below, what leads from there to the next leads
//!   from here too: an edge with the same migrations.
//!
//! Then every published version must reach the new one. If one does not, nothing is published: a
//! host on that version would stop at the missing migration.

use semver::Version;
use snafu::{ResultExt, Snafu, ensure};
use update_metadata::{MigrationError, MigrationGraph, MissingMigration};

/// Migrations from one version to a higher one, in the order in which they run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// The lower version.
    pub from: Version,
    /// The higher version.
    pub to: Version,
    /// The targets.
    pub targets: Vec<String>,
}

/// Why a release would strand hosts.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum EdgeError {
    /// Published migrations are not changed: hosts may have run them.
    #[snafu(display("the migrations from {from} to {to} are published already"))]
    Published { from: Version, to: Version },
    /// A version pair cannot be added.
    #[snafu(display("adding the migrations from {from} to {to}"))]
    Insert {
        from: Version,
        to: Version,
        #[snafu(source(from(MigrationError, Box::new)))]
        source: Box<MigrationError>,
    },
    /// A published version cannot reach the new one, or not be reached from it.
    #[snafu(display(
        "hosts could not get from {lower} to {higher} and back; \
         give --migration {lower}:{higher}:FILE, or --migration {lower}:{higher} if nothing changes"
    ))]
    Stranded {
        lower: Version,
        higher: Version,
        #[snafu(source(from(MissingMigration, Box::new)))]
        source: Box<MissingMigration>,
    },
}

/// Adds the given edges, and those that can be inferred, to `graph`; returns all of them.
///
/// `published` are the other versions of the variant and architecture.
///
/// # Errors
/// [`EdgeError`]; `graph` may then have been changed.
pub fn extend(
    graph: &mut MigrationGraph,
    published: &[Version],
    new: &Version,
    given: Vec<Edge>,
) -> Result<Vec<Edge>, EdgeError> {
    let below = published.iter().filter(|version| *version < new).max();
    let above = published.iter().filter(|version| *version > new).min();
    let stated_below = given.iter().any(|edge| edge.to == *new);
    let mut added = Vec::new();
    for edge in given {
        let Edge { from, to, .. } = &edge;
        ensure!(
            !graph.contains(from, to),
            PublishedSnafu {
                from: from.clone(),
                to: to.clone()
            }
        );
        insert(graph, edge, &mut added)?;
    }
    if let Some(below) = below
        && !stated_below
        && graph.path(below, new).is_err()
    {
        insert(
            graph,
            Edge {
                from: below.clone(),
                to: new.clone(),
                targets: vec![],
            },
            &mut added,
        )?;
    }
    if let Some(above) = above
        && graph.path(new, above).is_err()
        && let Some(targets) = targets_above(graph, below, new, above)
    {
        insert(
            graph,
            Edge {
                from: new.clone(),
                to: above.clone(),
                targets,
            },
            &mut added,
        )?;
    }
    for version in published.iter().filter(|version| *version != new) {
        let (lower, higher) = if version < new {
            (version, new)
        } else {
            (new, version)
        };
        graph.path(lower, higher).with_context(|_| StrandedSnafu {
            lower: lower.clone(),
            higher: higher.clone(),
        })?;
    }
    Ok(added)
}

/// What leads from `new` to `above`, where that follows from what leads from `below`. With nothing
/// below, the form is taken to be the same, as it is for a version above all others.
fn targets_above(
    graph: &MigrationGraph,
    below: Option<&Version>,
    new: &Version,
    above: &Version,
) -> Option<Vec<String>> {
    let Some(below) = below else {
        return Some(Vec::new());
    };
    let same_form = graph.path(below, new).ok()?.targets.is_empty();
    let path = graph.path(below, above).ok()?;
    same_form.then_some(path.targets)
}

fn insert(graph: &mut MigrationGraph, edge: Edge, added: &mut Vec<Edge>) -> Result<(), EdgeError> {
    let Edge { from, to, targets } = edge.clone();
    graph
        .insert(from, to, targets)
        .with_context(|_| InsertSnafu {
            from: edge.from.clone(),
            to: edge.to.clone(),
        })?;
    added.push(edge);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn edge(from: &str, to: &str, targets: &[&str]) -> Edge {
        let targets = targets.iter().map(|&target| target.to_owned()).collect();
        Edge {
            from: version(from),
            to: version(to),
            targets,
        }
    }

    /// The edges that are added for `new`, or the message.
    fn added(
        graph: &[Edge],
        published: &[&str],
        new: &str,
        given: &[Edge],
    ) -> Result<Vec<Edge>, String> {
        let mut map = MigrationGraph::new();
        for Edge { from, to, targets } in graph.iter().cloned() {
            map.insert(from, to, targets).unwrap();
        }
        let published: Vec<Version> = published.iter().map(|text| version(text)).collect();
        extend(&mut map, &published, &version(new), given.to_vec())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_first_release_needs_no_migration() {
        assert_eq!(added(&[], &[], "1.0.0", &[]), Ok(vec![]));
    }

    #[test]
    fn the_next_release_gets_an_empty_edge_from_the_one_below() {
        let graph = [edge("1.0.0", "1.1.0", &["a"])];
        assert_eq!(
            added(&graph, &["1.1.0", "1.0.0"], "1.2.0", &[]),
            Ok(vec![edge("1.1.0", "1.2.0", &[])])
        );
    }

    #[test]
    fn a_stated_migration_is_taken_as_it_is() {
        let graph = [edge("1.0.0", "1.1.0", &[])];
        let given = [edge("1.1.0", "1.2.0", &["a", "b"])];
        assert_eq!(
            added(&graph, &["1.0.0", "1.1.0"], "1.2.0", &given),
            Ok(given.to_vec())
        );
    }

    #[test]
    fn a_path_that_is_there_already_is_enough() {
        let graph = [edge("1.0.0", "1.1.0", &["a"])];
        assert_eq!(added(&graph, &["1.0.0"], "1.1.0", &[]), Ok(vec![]));
    }

    #[test]
    fn a_release_in_between_gets_the_migrations_of_the_one_below_upward() {
        let graph = [edge("1.0.0", "1.2.0", &["a", "b"])];
        assert_eq!(
            added(&graph, &["1.0.0", "1.2.0"], "1.1.0", &[]),
            Ok(vec![
                edge("1.0.0", "1.1.0", &[]),
                edge("1.1.0", "1.2.0", &["a", "b"])
            ])
        );
    }

    #[test]
    fn a_release_in_between_with_migrations_of_its_own_needs_those_upward_stated() {
        let graph = [edge("1.0.0", "1.2.0", &["a"])];
        let below = edge("1.0.0", "1.1.0", &["x"]);
        assert_eq!(
            added(
                &graph,
                &["1.0.0", "1.2.0"],
                "1.1.0",
                std::slice::from_ref(&below)
            ),
            Err("hosts could not get from 1.1.0 to 1.2.0 and back; \
                 give --migration 1.1.0:1.2.0:FILE, or --migration 1.1.0:1.2.0 if nothing changes"
                .to_owned())
        );
        let given = [below, edge("1.1.0", "1.2.0", &[])];
        assert_eq!(
            added(&graph, &["1.0.0", "1.2.0"], "1.1.0", &given),
            Ok(given.to_vec())
        );
    }

    #[test]
    fn a_release_below_all_others_gets_an_empty_edge_upward() {
        assert_eq!(
            added(&[], &["1.0.0"], "0.9.0", &[]),
            Ok(vec![edge("0.9.0", "1.0.0", &[])])
        );
    }

    #[test]
    fn a_published_version_without_a_way_to_the_new_one_is_named() {
        // 1.1.0 was published beside 1.0.0, and the migration given leads from 1.0.0 only.
        let graph = [edge("1.0.0", "1.1.0", &[])];
        let given = [edge("1.0.0", "1.2.0", &["a"])];
        assert!(
            added(&graph, &["1.0.0", "1.1.0"], "1.2.0", &given)
                .unwrap_err()
                .starts_with("hosts could not get from 1.1.0 to 1.2.0 and back")
        );
    }

    #[test]
    fn published_migrations_are_not_replaced() {
        let graph = [edge("1.0.0", "1.1.0", &[])];
        assert_eq!(
            added(
                &graph,
                &["1.0.0", "1.1.0"],
                "1.2.0",
                &[edge("1.0.0", "1.1.0", &["a"])]
            ),
            Err("the migrations from 1.0.0 to 1.1.0 are published already".to_owned())
        );
    }
}
