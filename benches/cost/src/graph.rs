//! The packages that Cargo builds for a program, and what their manifests say.

use crate::{Result, minimal::output, report::Msrv};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

/// A package, as `cargo metadata` describes it.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    source: Option<String>,
    license: Option<String>,
    rust_version: Option<String>,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    kind: Vec<String>,
    src_path: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

impl Package {
    pub(crate) fn directory(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(&self.manifest_path)
    }

    /// Where its library's sources are.
    pub(crate) fn sources(&self) -> Option<&Path> {
        let library = |kind: &String| kind == "proc-macro" || kind.ends_with("lib");
        let target = self
            .targets
            .iter()
            .find(|target| target.kind.iter().any(library))?;
        target.src_path.parent()
    }
}

/// The packages of others that a build for `host` compiles, build scripts' and macros' included.
pub(crate) fn packages(manifest: &Path, host: &str) -> Result<Vec<Package>> {
    // The resolution in the metadata knows no difference between what is built for the host and for the target, and
    // so lists more than is built. The tree is exact, and the metadata only says what the packages are.
    let tree = output(cargo("tree", manifest).args([
        "--target",
        host,
        "--edges=normal,build",
        "--prefix=none",
        "--format={p}",
    ]))?;
    let built: BTreeSet<_> = tree.lines().filter_map(name_and_version).collect();
    let metadata =
        output(cargo("metadata", manifest).args(["--format-version=1", "--filter-platform", host]))?;
    let Metadata { packages } = serde_json::from_str(&metadata)?;
    let packages = packages.into_iter();
    Ok(packages
        .filter(|package| built.contains(&(&*package.name, &*package.version)) && package.source.is_some())
        .collect())
}

fn cargo(command: &str, manifest: &Path) -> Command {
    let mut cargo = Command::new("cargo");
    cargo
        .arg(command)
        .args(["--locked", "--offline", "--manifest-path"])
        .arg(manifest);
    cargo
}

/// Of a line such as `syn v3.0.10 (proc-macro)`.
fn name_and_version(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split_whitespace();
    Some((words.next()?, words.next()?.strip_prefix('v')?))
}

/// The newest compiler that any package asks for.
pub(crate) fn msrv(packages: &[Package]) -> Msrv {
    let number = |version: &str| -> Vec<u32> {
        let mut parts: Vec<_> = version.split('.').map(|part| part.parse().unwrap_or(0)).collect();
        parts.resize(3, 0); // 1.85 and 1.85.0 are one version
        parts
    };
    let asked = || {
        packages
            .iter()
            .filter_map(|package| Some((package.rust_version.as_deref()?, package)))
    };
    let newest = asked()
        .map(|(version, _)| version)
        .max_by_key(|version| number(version));
    let newest = newest.unwrap_or_default();
    let by = asked().filter(|(version, _)| number(version) == number(newest));
    Msrv {
        rust_version: newest.to_owned(),
        asked_for_by: by
            .map(|(_, package)| format!("{} {}", package.name, package.version))
            .collect(),
        unstated: packages.len() - asked().count(),
    }
}

/// How many packages have each licence expression.
pub(crate) fn licences(packages: &[Package]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for package in packages {
        let licence = package
            .license
            .as_deref()
            .map_or_else(|| "none stated".to_owned(), normal);
        *counts.entry(licence).or_default() += 1;
    }
    counts
}

/// `/` is what Cargo once had for `OR`, and the order of alternatives means nothing.
fn normal(expression: &str) -> String {
    let expression = expression.replace('/', " OR ");
    if expression.contains(['(', ')']) || expression.contains(" AND ") {
        return expression;
    }
    let alternatives: BTreeSet<_> = expression.split(" OR ").map(str::trim).collect();
    Vec::from_iter(alternatives).join(" OR ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, license: Option<&str>, rust_version: Option<&str>) -> Package {
        Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            source: None,
            license: license.map(str::to_owned),
            rust_version: rust_version.map(str::to_owned),
            manifest_path: PathBuf::new(),
            targets: Vec::new(),
        }
    }

    #[test]
    fn the_newest_compiler_counts_as_a_number() {
        let packages = [
            package("a", None, Some("1.9")),
            package("b", None, Some("1.85")),
            package("c", None, Some("1.85.0")),
            package("d", None, None),
        ];
        let msrv = msrv(&packages);
        assert!(msrv.rust_version.starts_with("1.85"));
        assert_eq!(msrv.asked_for_by, ["b 1.0.0", "c 1.0.0"]);
        assert_eq!(msrv.unstated, 1);
    }

    #[test]
    fn equal_licences_are_one() {
        let packages = [
            package("a", Some("MIT/Apache-2.0"), None),
            package("b", Some("MIT OR Apache-2.0"), None),
            package("c", Some("(MIT OR Apache-2.0) AND Unicode-3.0"), None),
            package("d", None, None),
        ];
        let counts = Vec::from_iter(licences(&packages));
        let count = |licence: &str, packages| (licence.to_owned(), packages);
        assert_eq!(
            counts,
            [
                count("(MIT OR Apache-2.0) AND Unicode-3.0", 1),
                count("Apache-2.0 OR MIT", 2),
                count("none stated", 1),
            ]
        );
    }

    #[test]
    fn a_line_of_the_tree() {
        assert_eq!(
            name_and_version("syn v3.0.10 (proc-macro)"),
            Some(("syn", "3.0.10"))
        );
        assert_eq!(name_and_version(""), None);
    }
}
