//! The way through a migration graph.

use crate::migrations::MigrationGraph;
use semver::{Prerelease, Version};
use serde::Serialize;
use snafu::{Snafu, ensure};
use std::collections::{BTreeMap, BTreeSet};

/// Whether migrations run forward, backward or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// To a higher version.
    Forward,
    /// To a lower version.
    Backward,
    /// To the same version: there is nothing to run.
    Same,
}

impl Direction {
    /// The direction from one version to another.
    pub fn between(from: &Version, to: &Version) -> Self {
        match from.cmp(to) {
            std::cmp::Ordering::Less => Self::Forward,
            std::cmp::Ordering::Greater => Self::Backward,
            std::cmp::Ordering::Equal => Self::Same,
        }
    }
}

/// The migrations that lead from one version to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MigrationPath {
    /// Which way every migration of the path runs.
    pub direction: Direction,
    /// The migration targets in the order in which they run.
    pub targets: Vec<String>,
    /// The hops in the order in which they are made, each from and to the version as travelled:
    /// backward, the first of each is the higher one.
    pub hops: Vec<(Version, Version)>,
}

/// No chain of entries joins two versions.
#[derive(Clone, Debug, PartialEq, Eq, Snafu)]
#[snafu(display(
    "no migrations lead from {from} to {to}: from {from} they lead no further than {furthest}"
))]
pub struct MissingMigration {
    from: Version,
    to: Version,
    furthest: Version,
}

impl MissingMigration {
    /// The version to start from.
    pub const fn from(&self) -> &Version {
        &self.from
    }

    /// The version that is not reached.
    pub const fn to(&self) -> &Version {
        &self.to
    }

    /// The version nearest to the goal that is reached; [`from`](Self::from) if none is.
    pub const fn furthest(&self) -> &Version {
        &self.furthest
    }
}

impl MigrationPath {
    /// See [`MigrationGraph::path`].
    pub(crate) fn find(
        graph: &MigrationGraph,
        from: &Version,
        to: &Version,
    ) -> Result<Self, MissingMigration> {
        let direction = Direction::between(from, to);
        let (lower, higher) = if from <= to { (from, to) } else { (to, from) };

        let next_hops = NextHops::toward(graph, lower, higher);
        ensure!(
            next_hops.reach(lower),
            MissingMigrationSnafu {
                from: from.clone(),
                to: to.clone(),
                furthest: match direction {
                    Direction::Backward => next_hops.lowest().clone(),
                    Direction::Forward | Direction::Same => highest_reached(graph, lower, higher),
                },
            }
        );

        let mut path = Self {
            direction,
            targets: Vec::new(),
            hops: Vec::new(),
        };
        let mut at = lower;
        while let Some((next, targets)) = next_hops.after(at) {
            path.targets.extend_from_slice(targets);
            path.hops.push((at.clone(), next.clone()));
            at = next;
        }
        if direction == Direction::Backward {
            path.targets.reverse();
            path.hops.reverse();
            for (from, to) in &mut path.hops {
                std::mem::swap(from, to);
            }
        }
        Ok(path)
    }
}

/// For every version from which the goal can be reached: how many hops away it is, and the first
/// of them.
struct NextHops<'a> {
    goal: &'a Version,
    first: BTreeMap<&'a Version, NextHop<'a>>,
}

struct NextHop<'a> {
    hops: usize,
    to: &'a Version,
    targets: &'a [String],
}

impl<'a> NextHops<'a> {
    /// Looks at each entry once, from the highest to the lowest.
    ///
    /// Entries only lead upward, so when those of one version are looked at, everything about the
    /// versions above it is known already. Among them the one to the highest version comes first,
    /// and keeps its place unless a later one needs fewer hops.
    fn toward(graph: &'a MigrationGraph, lower: &Version, goal: &'a Version) -> Self {
        let mut next_hops = Self {
            goal,
            first: BTreeMap::new(),
        };
        for (from, to, targets) in upward(graph, lower, goal).rev() {
            let Some(hops) = next_hops.hops_from(to).map(|hops| hops + 1) else {
                continue;
            };
            if next_hops.hops_from(from).is_none_or(|known| hops < known) {
                next_hops.first.insert(from, NextHop { hops, to, targets });
            }
        }
        next_hops
    }

    fn hops_from(&self, version: &Version) -> Option<usize> {
        if version == self.goal {
            return Some(0);
        }
        self.first.get(version).map(|next| next.hops)
    }

    fn reach(&self, version: &Version) -> bool {
        self.hops_from(version).is_some()
    }

    fn after(&self, version: &Version) -> Option<(&'a Version, &'a [String])> {
        self.first.get(version).map(|next| (next.to, next.targets))
    }

    /// The lowest version from which the goal can be reached.
    fn lowest(&self) -> &'a Version {
        self.first.keys().next().copied().unwrap_or(self.goal)
    }
}

/// The highest version up to `goal` that can be reached from `lower`.
fn highest_reached(graph: &MigrationGraph, lower: &Version, goal: &Version) -> Version {
    let mut reached = BTreeSet::from([lower]);
    for (from, to, _) in upward(graph, lower, goal) {
        if reached.contains(from) {
            reached.insert(to);
        }
    }
    reached
        .last()
        .map_or_else(|| lower.clone(), |version| (*version).clone())
}

/// The entries that lead upward between two versions, by first version, then by second version.
///
/// An entry from a version to itself, or downward, is in no path.
fn upward<'a>(
    graph: &'a MigrationGraph,
    lower: &Version,
    higher: &Version,
) -> impl DoubleEndedIterator<Item = (&'a Version, &'a Version, &'a [String])> {
    // No version is lower: so all entries from `lower` on, and none from `higher`. The rest of a
    // large graph is not looked at.
    let lowest = || Version {
        pre: Prerelease::new("0").expect("a number is a pre-release"),
        ..Version::new(0, 0, 0)
    };
    let (start, end) = ((lower.clone(), lowest()), (higher.clone(), lowest()));
    // Of equal versions there is nothing between.
    let end = if end < start { start.clone() } else { end };
    graph
        .edges()
        .range(start..end)
        .filter(move |((from, to), _)| lower <= from && from < to && to <= higher)
        .map(|((from, to), targets)| (from, to, targets.as_slice()))
}
