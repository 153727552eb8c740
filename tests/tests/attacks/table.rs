//! The table in `tests/ATTACKS.md` names tests that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn collect(folder: &Path, functions: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let is_built = path.ends_with("target") || path.ends_with("corpus");
            if !is_built {
                collect(&path, functions);
            }
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                if let Some(rest) = line.strip_prefix("fn ") {
                    let name = rest.split(['(', '<']).next().unwrap();
                    if is_test {
                        functions.insert(name.to_owned());
                    }
                    is_test = false;
                } else {
                    is_test |= line == "#[test]";
                }
            }
        }
    }
}

#[test]
fn every_test_that_the_table_names_exists_and_every_one_here_is_named() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = BTreeSet::new();
    for folder in ["../updog", "../update-metadata", "../signpost", "."] {
        collect(&tests.join(folder), &mut all);
    }
    let table = fs::read_to_string(tests.join("ATTACKS.md")).unwrap();
    let named: BTreeSet<String> = table
        .lines()
        .filter(|line| line.starts_with('|'))
        .filter_map(|line| line.trim_end_matches('|').rsplit('|').next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect();
    assert!(named.len() > 50, "{named:?}");
    let missing: Vec<_> = named.difference(&all).collect();
    assert!(missing.is_empty(), "no such test: {missing:?}");

    let mut here = BTreeSet::new();
    for folder in ["tests/attacks", "tests/interop"] {
        collect(&tests.join(folder), &mut here);
    }
    here.remove("every_test_that_the_table_names_exists_and_every_one_here_is_named");
    let unnamed: Vec<_> = here.difference(&named).collect();
    assert!(unnamed.is_empty(), "not in the table: {unnamed:?}");
}
