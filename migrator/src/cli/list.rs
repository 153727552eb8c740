//! `migrator list`

use std::fmt::{self, Write as _};
use std::process::ExitCode;

use super::{Common, Done, Form, print, print_json};
use crate::links::Layout;
use crate::status::{StoreStatus, stores};

pub(super) fn run(common: &Common, form: &Form) -> Done {
    let layout = Layout::read(&common.datastore_path)?;
    let stores = layout.as_ref().map(stores).unwrap_or_default();
    if form.json {
        print_json(&stores)?;
    } else {
        let mut text = String::new();
        table(&mut text, &stores)?;
        print(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One line for each store, the one in use with a mark.
pub(super) fn table(text: &mut String, stores: &[StoreStatus]) -> fmt::Result {
    let width = stores.iter().map(|store| store.name.len()).max();
    for store in stores {
        let mark = if store.current { '*' } else { ' ' };
        let versions: Vec<String> = store.versions.iter().map(ToString::to_string).collect();
        let what = if store.complete {
            format!("for {}", versions.join(", "))
        } else {
            "not finished".to_owned()
        };
        let size = store.size.map_or_else(
            || "?".to_owned(),
            |size| format!("{} KiB", size.bytes.div_ceil(1024)),
        );
        let width = width.unwrap_or_default();
        writeln!(text, "{mark} {:width$} {size:>10}  {what}", store.name)?;
    }
    Ok(())
}
