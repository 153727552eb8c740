//! Paths through a migration graph: the worked example, the awkward graphs, and every small graph
//! against a search that tries all ways.

use proptest::prelude::*;
use semver::Version;
use update_metadata::{Direction, MigrationGraph, MigrationPath, MissingMigration};

fn version(text: &str) -> Version {
    Version::parse(text).expect("a version of this file")
}

/// A graph of entries `(from, to, targets)`.
fn graph(entries: &[(&str, &str, &[&str])]) -> MigrationGraph {
    let mut graph = MigrationGraph::new();
    for (from, to, targets) in entries {
        let targets = targets.iter().map(|target| (*target).to_owned()).collect();
        graph
            .insert(version(from), version(to), targets)
            .expect("an entry of this file");
    }
    graph
}

fn find(graph: &MigrationGraph, from: &str, to: &str) -> Result<MigrationPath, MissingMigration> {
    graph.path(&version(from), &version(to))
}

/// The targets of a path that has to exist.
fn targets(graph: &MigrationGraph, from: &str, to: &str) -> Vec<String> {
    find(graph, from, to).expect("a path").targets
}

/// The hops of a path that has to exist, as text.
fn hops(graph: &MigrationGraph, from: &str, to: &str) -> Vec<String> {
    let path = find(graph, from, to).expect("a path");
    path.hops
        .iter()
        .map(|(from, to)| format!("{from}>{to}"))
        .collect()
}

fn worked_example() -> MigrationGraph {
    graph(&[
        ("1.0.0", "1.1.0", &["a", "b"]),
        ("1.1.0", "1.2.0", &["skip"]),
        ("1.1.0", "1.5.0", &["short"]),
        ("1.2.0", "1.5.0", &["skip2"]),
    ])
}

#[test]
fn forward_runs_the_entries_in_order() {
    let path = find(&worked_example(), "1.0.0", "1.5.0").expect("a path");
    assert_eq!(path.direction, Direction::Forward);
    assert_eq!(path.targets, ["a", "b", "short"]);
    assert_eq!(
        path.hops,
        [
            (version("1.0.0"), version("1.1.0")),
            (version("1.1.0"), version("1.5.0")),
        ]
    );
}

#[test]
fn backward_runs_the_forward_path_in_reverse() {
    let path = find(&worked_example(), "1.5.0", "1.0.0").expect("a path");
    assert_eq!(path.direction, Direction::Backward);
    assert_eq!(path.targets, ["short", "b", "a"]);
    assert_eq!(
        path.hops,
        [
            (version("1.5.0"), version("1.1.0")),
            (version("1.1.0"), version("1.0.0")),
        ]
    );
}

#[test]
fn equal_versions_need_no_entry() {
    for graph in [
        MigrationGraph::new(),
        graph(&[("1.0.0", "1.0.0", &["never"])]),
    ] {
        let path = find(&graph, "1.0.0", "1.0.0").expect("a path");
        assert_eq!(path.direction, Direction::Same);
        assert_eq!(path.targets, Vec::<String>::new());
        assert_eq!(path.hops, []);
    }
}

#[test]
fn an_empty_entry_still_joins_two_versions() {
    let graph = graph(&[("1.25.0", "1.26.0", &[]), ("1.26.0", "1.26.1", &[])]);
    let path = find(&graph, "1.25.0", "1.26.1").expect("a path");
    assert_eq!(path.targets, Vec::<String>::new());
    assert_eq!(path.hops.len(), 2);
}

#[test]
fn a_long_hop_into_a_dead_end_is_avoided_unlike_the_reference() {
    let graph = graph(&[
        ("1.0.0", "1.1.0", &["step"]),
        ("1.0.0", "1.4.0", &["dead-end"]),
        ("1.1.0", "1.5.0", &["rest"]),
    ]);
    assert_eq!(targets(&graph, "1.0.0", "1.5.0"), ["step", "rest"]);
    assert_eq!(targets(&graph, "1.5.0", "1.0.0"), ["rest", "step"]);
}

#[test]
fn a_self_edge_does_not_loop_unlike_the_reference() {
    let graph = graph(&[("1.0.0", "1.0.0", &["loop"])]);
    let error = find(&graph, "1.0.0", "1.1.0").unwrap_err();
    assert_eq!(error.furthest(), &version("1.0.0"));
}

#[test]
fn a_path_never_leaves_the_two_versions() {
    // Past the goal and back, or below the start and up again, would be ways too.
    let graph = graph(&[
        ("1.1.0", "1.3.0", &["over"]),
        ("1.3.0", "1.2.0", &["back"]),
        ("1.1.0", "1.0.0", &["down"]),
        ("1.0.0", "1.2.0", &["up"]),
    ]);
    assert!(find(&graph, "1.1.0", "1.2.0").is_err());
    assert!(find(&graph, "1.2.0", "1.1.0").is_err());
}

#[test]
fn downward_entries_are_ignored_in_both_directions() {
    let graph = graph(&[("1.1.0", "1.0.0", &["down"])]);
    assert!(find(&graph, "1.1.0", "1.0.0").is_err());
    assert!(find(&graph, "1.0.0", "1.1.0").is_err());
}

#[test]
fn fewest_hops_win_over_the_longest_first_hop() {
    let graph = graph(&[
        ("1.0.0", "1.3.0", &["long"]),
        ("1.3.0", "1.4.0", &["then"]),
        ("1.4.0", "1.5.0", &["then"]),
        ("1.0.0", "1.1.0", &["short"]),
        ("1.1.0", "1.5.0", &["all-the-way"]),
    ]);
    assert_eq!(
        hops(&graph, "1.0.0", "1.5.0"),
        ["1.0.0>1.1.0", "1.1.0>1.5.0"]
    );
}

#[test]
fn of_equally_many_hops_the_longest_first_hop_wins() {
    let graph = graph(&[
        ("1.0.0", "1.1.0", &[]),
        ("1.0.0", "1.2.0", &[]),
        ("1.0.0", "1.3.0", &[]),
        ("1.1.0", "1.5.0", &[]),
        ("1.2.0", "1.5.0", &[]),
        ("1.3.0", "1.5.0", &[]),
    ]);
    assert_eq!(
        hops(&graph, "1.0.0", "1.5.0"),
        ["1.0.0>1.3.0", "1.3.0>1.5.0"]
    );
    assert_eq!(
        hops(&graph, "1.5.0", "1.0.0"),
        ["1.5.0>1.3.0", "1.3.0>1.0.0"]
    );
}

#[test]
fn a_missing_path_says_how_far_one_gets() {
    let graph = graph(&[
        ("1.0.0", "1.1.0", &[]),
        ("1.0.0", "1.2.0", &[]),
        ("1.1.0", "1.1.5", &[]),
        ("1.3.0", "1.4.0", &[]),
        ("1.4.0", "1.5.0", &[]),
        ("1.2.0", "1.9.0", &[]),
    ]);
    for (from, to, furthest) in [
        ("1.0.0", "1.5.0", "1.2.0"),
        ("1.5.0", "1.0.0", "1.3.0"),
        ("0.9.0", "1.5.0", "0.9.0"),
        ("1.6.0", "1.0.0", "1.6.0"),
    ] {
        let error = find(&graph, from, to).unwrap_err();
        assert_eq!(error.from(), &version(from));
        assert_eq!(error.to(), &version(to));
        assert_eq!(error.furthest(), &version(furthest), "{from} to {to}");
    }
    assert_eq!(
        find(&graph, "1.0.0", "1.5.0").unwrap_err().to_string(),
        "no migrations lead from 1.0.0 to 1.5.0: from 1.0.0 they lead no further than 1.2.0"
    );
}

#[test]
fn pre_releases_and_builds_are_versions_of_their_own() {
    let graph = graph(&[
        ("1.0.0-rc.1", "1.0.0", &["final"]),
        ("1.0.0", "1.0.0+fips", &["fips"]),
    ]);
    assert_eq!(
        targets(&graph, "1.0.0-rc.1", "1.0.0+fips"),
        ["final", "fips"]
    );
    assert!(find(&graph, "1.0.0-rc.1", "1.0.0+other").is_err());
}

#[test]
fn a_chain_of_thousands_is_walked() {
    let mut graph = MigrationGraph::new();
    for minor in 0..9_999 {
        let target = format!("m{minor}");
        let (from, to) = (Version::new(1, minor, 0), Version::new(1, minor + 1, 0));
        graph.insert(from, to, vec![target]).expect("an entry");
    }
    assert_eq!(targets(&graph, "1.0.0", "1.9999.0").len(), 9_999);
}

#[test]
fn a_path_is_plain_json() {
    let path = find(&worked_example(), "1.1.0", "1.0.0").expect("a path");
    assert_eq!(
        serde_json::to_string(&path).expect("JSON"),
        r#"{"direction":"backward","targets":["b","a"],"hops":[["1.1.0","1.0.0"]]}"#
    );
}

/// A graph over the versions `1.0.0` to `1.6.0`, each entry with one target that names it.
fn small_graph() -> impl Strategy<Value = MigrationGraph> {
    prop::collection::btree_set((0_u64..7, 0_u64..7), 0..20).prop_map(|edges| {
        let mut graph = MigrationGraph::new();
        for (from, to) in edges {
            let targets = vec![format!("{from}-{to}-x"), format!("{from}-{to}-y")];
            graph
                .insert(Version::new(1, from, 0), Version::new(1, to, 0), targets)
                .expect("each pair comes once");
        }
        graph
    })
}

/// Every way upward from `at` to `goal`, by trying each entry.
fn all_ways(graph: &MigrationGraph, at: &Version, goal: &Version) -> Vec<Vec<Version>> {
    if at == goal {
        return vec![vec![goal.clone()]];
    }
    let mut ways = Vec::new();
    for (from, to, _) in graph {
        if from == at && to > from && to <= goal {
            for mut way in all_ways(graph, to, goal) {
                way.insert(0, at.clone());
                ways.push(way);
            }
        }
    }
    ways
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_path_is_the_best_of_all_ways(graph in small_graph(), a in 0_u64..7, b in 0_u64..7) {
        let (low, high) = (Version::new(1, a.min(b), 0), Version::new(1, a.max(b), 0));
        let best = all_ways(&graph, &low, &high)
            .into_iter()
            .min_by(|one, other| one.len().cmp(&other.len()).then_with(|| other.cmp(one)));

        let forward = graph.path(&low, &high);
        let backward = graph.path(&high, &low);
        let Some(best) = best else {
            prop_assert!(forward.is_err() && backward.is_err());
            return Ok(());
        };
        let (forward, backward) = (forward.expect("a path"), backward.expect("a path"));

        let hops: Vec<_> = best.iter().cloned().zip(best.iter().skip(1).cloned()).collect();
        let targets: Vec<String> = hops
            .iter()
            .flat_map(|(from, to)| graph.get(from, to).expect("an entry"))
            .cloned()
            .collect();
        prop_assert_eq!(&forward.hops, &hops);
        prop_assert_eq!(&forward.targets, &targets);

        let reverse: Vec<String> = targets.into_iter().rev().collect();
        prop_assert_eq!(backward.targets, reverse);
        let turned: Vec<_> = hops.into_iter().rev().map(|(from, to)| (to, from)).collect();
        prop_assert_eq!(backward.hops, turned);
    }

    #[test]
    fn the_furthest_version_is_the_last_one_reached(
        graph in small_graph(),
        a in 0_u64..7,
        b in 0_u64..7,
    ) {
        let (low, high) = (Version::new(1, a.min(b), 0), Version::new(1, a.max(b), 0));
        let between = |v: &Version| *v >= low && *v <= high;
        let all = || (0..7).map(|minor| Version::new(1, minor, 0)).filter(between);
        if let Err(error) = graph.path(&low, &high) {
            let furthest = all().filter(|v| !all_ways(&graph, &low, v).is_empty()).max();
            prop_assert_eq!(Some(error.furthest()), furthest.as_ref());
        }
        if let Err(error) = graph.path(&high, &low) {
            let furthest = all().filter(|v| !all_ways(&graph, v, &high).is_empty()).min();
            prop_assert_eq!(Some(error.furthest()), furthest.as_ref());
        }
    }
}
