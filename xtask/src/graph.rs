// SPDX-License-Identifier: Apache-2.0
//! The crates that are built, as `cargo metadata` knows them.

use serde_json::Value;
use std::{collections::BTreeMap, path::Path, process::Command};

/// All packages by their id.
pub(crate) type Graph = BTreeMap<String, Package>;

/// A package of the graph.
#[derive(Debug, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// SPDX expression; empty if it has none.
    pub(crate) licence: String,
    /// True for the crates of this workspace.
    pub(crate) ours: bool,
    pub(crate) needs: Vec<Need>,
}

/// That a package needs another.
#[derive(Debug)]
pub(crate) struct Need {
    pub(crate) id: String,
    /// True if nothing but tests, examples and benches needs it.
    pub(crate) only_dev: bool,
}

/// Asks cargo.
pub(crate) fn read(root: &Path) -> Result<Graph, String> {
    let output = Command::new(crate::cargo_program())
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let metadata =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
    Ok(from_metadata(&metadata))
}

pub(crate) fn from_metadata(metadata: &Value) -> Graph {
    let mut graph = Graph::new();
    for package in array(&metadata["packages"]) {
        graph.insert(
            text(&package["id"]),
            Package {
                name: text(&package["name"]),
                version: text(&package["version"]),
                licence: text(&package["license"]),
                ..Package::default()
            },
        );
    }
    for id in array(&metadata["workspace_members"]) {
        graph.entry(text(id)).or_default().ours = true;
    }
    for node in array(&metadata["resolve"]["nodes"]) {
        let needs = array(&node["deps"]).map(|need| Need {
            id: text(&need["pkg"]),
            only_dev: array(&need["dep_kinds"]).all(|kind| kind["kind"] == "dev"),
        });
        graph.entry(text(&node["id"])).or_default().needs = needs.collect();
    }
    graph
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
