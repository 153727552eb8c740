//! Pure: what a run has to do, decided from what is there.

use semver::Version;
use update_metadata::{Direction, MigrationGraph, MigrationPath, MissingMigration};

/// What leads from the store in use to one for the booting version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Course {
    /// The booting version's store is in use.
    Nothing,
    /// No setting changes between the two: the same store serves both.
    Relink,
    /// These run, on copies.
    Migrate(MigrationPath),
}

/// What leads from the settings of `from` to those of `to`.
///
/// # Errors
/// [`MissingMigration`] when the versions differ and the graph holds no path.
pub fn course(
    from: &Version,
    to: &Version,
    graph: &MigrationGraph,
) -> Result<Course, MissingMigration> {
    let path = graph.path(from, to)?;
    Ok(match path.direction {
        Direction::Same => Course::Nothing,
        _ if path.targets.is_empty() => Course::Relink,
        _ => Course::Migrate(path),
    })
}

/// For each migration of the path the version that has the settings before it runs: the one that its
/// hop starts from, as travelled.
pub fn step_versions(path: &MigrationPath, graph: &MigrationGraph) -> Vec<Version> {
    let mut versions = Vec::new();
    for (from, to) in &path.hops {
        let (lower, higher) = if from <= to { (from, to) } else { (to, from) };
        let count = graph.get(lower, higher).map_or(0, <[String]>::len);
        versions.extend(std::iter::repeat_n(from.clone(), count));
    }
    versions
}

/// What is done when the way to the booting version cannot be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recourse<'a> {
    /// The store that the booting version last ran with takes over.
    Kept(&'a str),
    /// The links stay as they are, and the boot fails: the boot loader falls back to the version
    /// that the store is for.
    Stay,
}

/// Pure: a system that fell back must come up with settings, if need be with those it had. A system
/// that goes forward has another one to fall back to, and settings that are newer than any it had.
pub fn recourse<'a>(from: &Version, to: &Version, kept: Option<&'a str>) -> Recourse<'a> {
    match (Direction::between(from, to), kept) {
        (Direction::Backward, Some(store)) => Recourse::Kept(store),
        _ => Recourse::Stay,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn graph() -> MigrationGraph {
        serde_json::from_str(
            r#"{"(1.0.0, 1.1.0)": ["a", "b"], "(1.1.0, 1.2.0)": [], "(1.2.0, 1.3.0)": ["c"]}"#,
        )
        .unwrap()
    }

    #[test]
    fn the_course_is_what_lies_between_the_versions() {
        let migrate = |from: &str, to: &str| match course(&v(from), &v(to), &graph()) {
            Ok(Course::Migrate(path)) => {
                let versions = step_versions(&path, &graph());
                let step = |(target, version): (String, Version)| format!("{target} {version}");
                path.targets
                    .into_iter()
                    .zip(versions)
                    .map(step)
                    .collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(
            course(&v("1.1.0"), &v("1.1.0"), &graph()),
            Ok(Course::Nothing)
        );
        assert_eq!(
            course(&v("9.0.0"), &v("9.0.0"), &graph()),
            Ok(Course::Nothing)
        );
        assert_eq!(
            course(&v("1.1.0"), &v("1.2.0"), &graph()),
            Ok(Course::Relink)
        );
        assert_eq!(
            course(&v("1.2.0"), &v("1.1.0"), &graph()),
            Ok(Course::Relink)
        );
        assert_eq!(migrate("1.0.0", "1.3.0"), ["a 1.0.0", "b 1.0.0", "c 1.2.0"]);
        assert_eq!(migrate("1.3.0", "1.0.0"), ["c 1.3.0", "b 1.1.0", "a 1.1.0"]);
        assert!(course(&v("1.0.0"), &v("1.4.0"), &graph()).is_err());
        // A version before its release is another version.
        assert!(course(&v("1.1.0"), &v("1.2.0-rc.1"), &graph()).is_err());
    }

    #[test]
    fn only_the_way_back_has_a_recourse() {
        let (old, new) = (v("1.0.0"), v("1.1.0"));
        assert_eq!(recourse(&new, &old, Some("s")), Recourse::Kept("s"));
        assert_eq!(recourse(&new, &old, None), Recourse::Stay);
        assert_eq!(recourse(&old, &new, Some("s")), Recourse::Stay);
        assert_eq!(recourse(&old, &old, Some("s")), Recourse::Stay);
    }
}
