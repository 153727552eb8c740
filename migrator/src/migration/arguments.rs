//! Pure: the command line of a migration.

use std::ffi::OsString;
use std::path::PathBuf;

use super::Direction;

pub(super) const USAGE: &str =
    "usage: MIGRATION --forward|--backward --source-datastore PATH --target-datastore PATH";

/// What a migration is told, in any order.
#[derive(Debug, PartialEq)]
pub(super) struct Arguments {
    pub(super) direction: Direction,
    pub(super) source: PathBuf,
    pub(super) target: PathBuf,
}

impl Arguments {
    /// The arguments behind the program's name, or what is wrong with them.
    pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut direction = None;
        let mut source = None;
        let mut target = None;
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let name = argument.to_string_lossy().into_owned();
            let is_new = match name.as_str() {
                "--forward" => direction.replace(Direction::Forward).is_none(),
                "--backward" => direction.replace(Direction::Backward).is_none(),
                "--source-datastore" | "--target-datastore" => {
                    let path = arguments.next().ok_or(format!("{name} needs a path"))?;
                    let place = if name == "--source-datastore" {
                        &mut source
                    } else {
                        &mut target
                    };
                    place.replace(PathBuf::from(path)).is_none()
                }
                _ => return Err(format!("{name:?} is no option")),
            };
            if !is_new {
                return Err(format!("{name} is one too many"));
            }
        }
        let direction = direction.ok_or("--forward or --backward is missing")?;
        let source = source.ok_or("--source-datastore is missing")?;
        let target = target.ok_or("--target-datastore is missing")?;
        if source == target {
            return Err("the source and the target are the same".to_owned());
        }
        Ok(Self {
            direction,
            source,
            target,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_order_does_not_matter() {
        let expected = |direction| {
            Ok(Arguments {
                direction,
                source: "/a".into(),
                target: "/b".into(),
            })
        };
        let line = "--forward --source-datastore /a --target-datastore /b";
        assert_eq!(parse(line), expected(Direction::Forward));
        let line = "--target-datastore /b --source-datastore /a --backward";
        assert_eq!(parse(line), expected(Direction::Backward));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, wrong) in [
            ("", "--forward or --backward is missing"),
            ("--forward", "--source-datastore is missing"),
            (
                "--forward --source-datastore /a",
                "--target-datastore is missing",
            ),
            (
                "--forward --source-datastore",
                "--source-datastore needs a path",
            ),
            ("--forward --backward", "--backward is one too many"),
            (
                "--source-datastore a --source-datastore b",
                "--source-datastore is one too many",
            ),
            ("--help", "\"--help\" is no option"),
            ("store", "\"store\" is no option"),
            (
                "--forward --source-datastore /a --target-datastore /a/",
                "the source and the target are the same",
            ),
        ] {
            assert_eq!(parse(line), Err(wrong.to_owned()), "{line}");
        }
    }
}
