//! Which migrations lead from one version's settings to another's.
//!
//! A graph of version pairs, each with the migrations that lead from the first to the second. The
//! same entry serves both directions: backward, the migrations of a path run in reverse order.

use crate::chain::Chain;
use crate::migration_key::MigrationKey;
use crate::target_name::{NameError, check_target_name};
use semver::Version;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::{Serialize, Serializer};
use snafu::{ResultExt, Snafu, ensure};
use std::collections::{BTreeMap, btree_map};
use std::fmt;

pub use crate::migration_path::{Direction, MigrationPath, MissingMigration};

/// The most version pairs a graph may have.
pub const MAX_MIGRATIONS: usize = 10_000;

/// The most migrations one version pair may have.
pub const MAX_MIGRATION_TARGETS: usize = 1000;

/// Version pairs and the migration targets of each, in the order in which they run forward.
///
/// As JSON an object: keys `"(FROM, TO)"`, written in the order of their text, and arrays of target
/// names as values. Reading refuses a key without a pair of versions, a pair given twice, a bad
/// target name, and more than [`MAX_MIGRATIONS`] pairs or [`MAX_MIGRATION_TARGETS`] targets in one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MigrationGraph(BTreeMap<(Version, Version), Vec<String>>);

/// Why an entry of a migration graph is refused.
#[derive(Debug, Snafu)]
#[non_exhaustive]
pub enum MigrationError {
    /// The pair has an entry already.
    #[snafu(display("the migrations from {from} to {to} are given twice"))]
    DuplicatePair {
        /// The pair's first version.
        from: Version,
        /// The pair's second version.
        to: Version,
    },

    /// A target of the entry has a bad name.
    #[snafu(display("a migration from {from} to {to} cannot be a target"))]
    TargetName {
        /// The pair's first version.
        from: Version,
        /// The pair's second version.
        to: Version,
        /// What is wrong with the name.
        source: NameError,
    },

    /// The entry has more than [`MAX_MIGRATION_TARGETS`] targets.
    #[snafu(display("more than {MAX_MIGRATION_TARGETS} migrations from {from} to {to}"))]
    TooManyTargets {
        /// The pair's first version.
        from: Version,
        /// The pair's second version.
        to: Version,
    },

    /// The graph has [`MAX_MIGRATIONS`] entries already.
    #[snafu(display("more than {MAX_MIGRATIONS} version pairs with migrations"))]
    TooManyPairs,
}

impl MigrationGraph {
    /// A graph without entries.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of version pairs.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the pair has an entry, if only an empty one.
    pub fn contains(&self, from: &Version, to: &Version) -> bool {
        self.0.contains_key(&(from.clone(), to.clone()))
    }

    /// The migration targets of one pair, in the order in which they run forward.
    pub fn get(&self, from: &Version, to: &Version) -> Option<&[String]> {
        self.0.get(&(from.clone(), to.clone())).map(Vec::as_slice)
    }

    /// The entries, by first version, then by second version.
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.0.iter())
    }

    /// Every migration target of every entry, in the order of [`iter`](Self::iter). A target that
    /// two entries share comes twice.
    pub fn all_targets(&self) -> impl Iterator<Item = &str> {
        self.0.values().flatten().map(String::as_str)
    }

    /// Adds an entry.
    ///
    /// An entry from a version to itself, or to a lower one, is kept but no path ever uses it.
    ///
    /// # Errors
    ///
    /// Any of [`MigrationError`]; the graph is then unchanged.
    pub fn insert(
        &mut self,
        from: Version,
        to: Version,
        targets: Vec<String>,
    ) -> Result<(), MigrationError> {
        ensure!(self.0.len() < MAX_MIGRATIONS, TooManyPairsSnafu);
        ensure!(
            targets.len() <= MAX_MIGRATION_TARGETS,
            TooManyTargetsSnafu { from, to }
        );
        for target in &targets {
            check_target_name(target).with_context(|_| TargetNameSnafu {
                from: from.clone(),
                to: to.clone(),
            })?;
        }
        match self.0.entry((from, to)) {
            btree_map::Entry::Occupied(entry) => {
                let (from, to) = entry.key().clone();
                DuplicatePairSnafu { from, to }.fail()
            }
            btree_map::Entry::Vacant(entry) => {
                entry.insert(targets);
                Ok(())
            }
        }
    }

    /// The migrations that lead from `from` to `to`, in the order in which they run.
    ///
    /// The search is complete: if the entries hold any path, one is found. Of several it takes the
    /// one with the fewest hops, and of those the one whose first hop is longest, then the second,
    /// and so on. A path only moves upward and stays between the two versions; a backward one is
    /// the forward one in reverse. Equal versions need no entry.
    ///
    /// Versions are compared with their build metadata, as everywhere in this crate: `1.0.0+a` and
    /// `1.0.0+b` are different versions.
    ///
    /// # Errors
    ///
    /// [`MissingMigration`] if no chain of entries joins the two versions.
    pub fn path(&self, from: &Version, to: &Version) -> Result<MigrationPath, MissingMigration> {
        MigrationPath::find(self, from, to)
    }

    /// The map itself, for the search.
    pub(crate) fn edges(&self) -> &BTreeMap<(Version, Version), Vec<String>> {
        &self.0
    }
}

/// The entries of a graph, by first version, then by second version.
#[derive(Clone, Debug)]
pub struct Iter<'a>(btree_map::Iter<'a, (Version, Version), Vec<String>>);

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a Version, &'a Version, &'a [String]);

    fn next(&mut self) -> Option<Self::Item> {
        self.0
            .next()
            .map(|((from, to), targets)| (from, to, targets.as_slice()))
    }
}

impl<'a> IntoIterator for &'a MigrationGraph {
    type Item = (&'a Version, &'a Version, &'a [String]);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl Serialize for MigrationGraph {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // In the order of the keys' text, which is not the order of the versions.
        let by_text: BTreeMap<String, &[String]> = self
            .iter()
            .map(|(from, to, targets)| (format!("({from}, {to})"), targets))
            .collect();
        serializer.collect_map(by_text)
    }
}

impl<'de> Deserialize<'de> for MigrationGraph {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct GraphVisitor;

        impl<'de> Visitor<'de> for GraphVisitor {
            type Value = MigrationGraph;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of `(FROM, TO)` keys and lists of migrations")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<MigrationGraph, A::Error> {
                let mut graph = MigrationGraph::new();
                while let Some(key) = map.next_key::<String>()? {
                    let MigrationKey { from, to } = key
                        .parse()
                        .map_err(|error| A::Error::custom(Chain(&error)))?;
                    // `insert` checks this as well, but after the value: too late to tell the place.
                    if graph.contains(&from, &to) {
                        let error = DuplicatePairSnafu { from, to }.build();
                        return Err(A::Error::custom(error));
                    }
                    let Targets(targets) = map.next_value()?;
                    graph
                        .insert(from, to, targets)
                        .map_err(|error| A::Error::custom(Chain(&error)))?;
                }
                Ok(graph)
            }
        }

        deserializer.deserialize_map(GraphVisitor)
    }
}

/// The targets of one entry, bounded while they are read.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Targets(
    #[serde(deserialize_with = "crate::bounded::list::<_, _, MAX_MIGRATION_TARGETS>")] Vec<String>,
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(json: &str) -> Result<MigrationGraph, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    fn v(minor: u64) -> Version {
        Version::new(1, minor, 0)
    }

    #[test]
    fn keys_are_written_in_the_order_of_their_text() {
        let graph = read(
            r#"{"(1.2.0,1.10.0)": ["b", "a"], "x (1.10.0,  1.11.0) y": [], "(1.1.0, 1.2.0)": ["c"]}"#,
        )
        .unwrap();
        assert_eq!(
            serde_json::to_string(&graph).unwrap(),
            r#"{"(1.1.0, 1.2.0)":["c"],"(1.10.0, 1.11.0)":[],"(1.2.0, 1.10.0)":["b","a"]}"#
        );
        let by_version: Vec<_> = graph.iter().map(|(from, to, _)| (from, to)).collect();
        assert_eq!(
            by_version,
            [(&v(1), &v(2)), (&v(2), &v(10)), (&v(10), &v(11))]
        );
        assert_eq!(graph.all_targets().collect::<Vec<_>>(), ["c", "b", "a"]);
        assert_eq!(graph.len(), 3);
        assert!(!graph.is_empty());
        assert!(graph.contains(&v(10), &v(11)));
        assert!(!graph.contains(&v(11), &v(10)));
        assert_eq!(graph.get(&v(1), &v(2)), Some(&["c".to_owned()][..]));
        assert_eq!(graph.get(&v(2), &v(3)), None);
    }

    #[test]
    fn a_pair_is_given_once_however_it_is_spelled() {
        for json in [
            r#"{"(1.1.0, 1.2.0)": [], "(1.1.0, 1.2.0)": []}"#,
            r#"{"(1.1.0, 1.2.0)": [], "(1.1.0,1.2.0)": []}"#,
            r#"{"(1.1.0, 1.2.0)": [], "again (1.1.0, 1.2.0)": []}"#,
        ] {
            let error = read(json).unwrap_err();
            let expected = "the migrations from 1.1.0 to 1.2.0 are given twice at line 1";
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn bad_entries_are_refused_with_the_place() {
        for (json, expected) in [
            (
                r#"{"1.1.0, 1.2.0": []}"#,
                "migration key \"1.1.0, 1.2.0\" has no `(FROM, TO)`",
            ),
            (
                r#"{"(1.1, 1.2.0)": []}"#,
                "\"1.1\" in migration key \"(1.1, 1.2.0)\" is not a version: unexpected end of",
            ),
            (
                r#"{"(1.1.0, 1.2.0)": ["../m"]}"#,
                "a migration from 1.1.0 to 1.2.0 cannot be a target: the target name \"../m\" has",
            ),
            (
                r#"{"(1.1.0, 1.2.0)": "m"}"#,
                "invalid type: string \"m\", expected a list of",
            ),
            (
                r"[]",
                "invalid type: sequence, expected an object of `(FROM, TO)` keys",
            ),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
            assert!(error.contains(" at line 1 column "), "{error}");
        }
    }

    #[test]
    fn counts_are_bounded() {
        let targets = |count: usize| vec!["m"; count];
        let json = |count| serde_json::json!({ "(1.1.0, 1.2.0)": targets(count) }).to_string();
        assert_eq!(read(&json(1000)).unwrap().all_targets().count(), 1000);
        let error = read(&json(1001)).unwrap_err();
        assert!(
            error.starts_with("more than 1000 elements in one list at line 1"),
            "{error}"
        );

        let mut graph = MigrationGraph::new();
        let too_many = vec!["m".to_owned(); 1001];
        let error = graph.insert(v(1), v(2), too_many).unwrap_err();
        assert_eq!(
            error.to_string(),
            "more than 1000 migrations from 1.1.0 to 1.2.0"
        );
        assert!(graph.is_empty());
        for minor in 0..10_000 {
            graph.insert(v(minor), v(minor + 1), Vec::new()).unwrap();
        }
        let error = graph.insert(v(10_000), v(10_001), Vec::new()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "more than 10000 version pairs with migrations"
        );
    }

    #[test]
    fn a_refused_entry_leaves_the_graph_as_it_was() {
        let mut graph = read(r#"{"(1.1.0, 1.2.0)": ["m"]}"#).unwrap();
        let before = graph.clone();
        let error = graph.insert(v(1), v(2), vec!["n".to_owned()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the migrations from 1.1.0 to 1.2.0 are given twice"
        );
        let error = graph
            .insert(v(2), v(3), vec!["ok".to_owned(), String::new()])
            .unwrap_err();
        assert_eq!(
            Chain(&error).to_string(),
            "a migration from 1.2.0 to 1.3.0 cannot be a target: the name is empty"
        );
        assert_eq!(graph, before);
    }

    proptest! {
        #[test]
        fn every_graph_survives_json(
            edges in prop::collection::btree_map((0_u64..30, 0_u64..30), "[a-z.]{1,9}x", 0..20),
        ) {
            let mut graph = MigrationGraph::new();
            for ((from, to), target) in edges {
                graph.insert(v(from), v(to), vec![target]).unwrap();
            }
            let json = serde_json::to_string(&graph).unwrap();
            prop_assert_eq!(read(&json), Ok(graph));
        }

        #[test]
        fn no_json_panics(bytes: Vec<u8>, key in "[(), 0-9.a]*", value: String) {
            let _ = serde_json::from_slice::<MigrationGraph>(&bytes);
            let _ = read(&serde_json::json!({ key: [value] }).to_string());
        }
    }
}
