//! Lines of C and assembly, and lines of Rust that the compiler does not check.

use crate::Result;
use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use std::{collections::BTreeSet, fs, path::Path};
use syn::{
    Attribute, ExprUnsafe, ImplItemFn, ItemFn, ItemImpl, ItemMod, Macro, TraitItemFn,
    spanned::Spanned,
    visit::{self, Visit},
};

/// Lines, blank ones and comments included.
#[derive(Debug, Default)]
pub(crate) struct Native {
    pub(crate) c: usize,
    pub(crate) assembly: usize,
}

/// All files below a package's directory, by their names' ends.
pub(crate) fn native(directory: &Path) -> Result<Native> {
    let mut native = Native::default();
    walk(directory, &mut |path| {
        let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
        let lines = match end {
            "c" | "h" | "cc" | "cpp" | "cxx" | "hpp" => &mut native.c,
            "S" | "s" | "asm" => &mut native.assembly,
            _ => return Ok(()),
        };
        let text = fs::read(path)?;
        *lines += String::from_utf8_lossy(&text).lines().count();
        Ok(())
    })?;
    Ok(native)
}

/// The Rust of a package's library.
#[derive(Debug, Default)]
pub(crate) struct Rust {
    pub(crate) lines: usize,
    pub(crate) not_safe: usize,
    /// Files that are not Rust on their own, such as those that a macro includes.
    pub(crate) unparsed: usize,
}

/// All `.rs` files below `sources`, but for tests, examples and benches.
pub(crate) fn rust(sources: &Path) -> Result<Rust> {
    let mut rust = Rust::default();
    walk(sources, &mut |path| {
        let inside = path.strip_prefix(sources)?;
        let aside = inside.iter().filter_map(|part| part.to_str()).any(is_aside);
        if aside || path.extension().is_none_or(|end| end != "rs") {
            return Ok(());
        }
        let text = fs::read_to_string(path)?;
        rust.lines += text.lines().count();
        match not_safe(&text) {
            Ok(lines) => rust.not_safe += lines,
            Err(_) => rust.unparsed += 1,
        }
        // The places of all tokens are kept until then.
        proc_macro2::extra::invalidate_current_thread_spans();
        Ok(())
    })?;
    Ok(rust)
}

/// A directory or file that is not part of the library itself, by its name.
fn is_aside(name: &str) -> bool {
    let name = name.strip_suffix(".rs").unwrap_or(name);
    matches!(name, "tests" | "test" | "examples" | "benches")
        || name.ends_with("_test")
        || name.ends_with("_tests")
}

fn walk(directory: &Path, file: &mut impl FnMut(&Path) -> Result<()>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), file)?;
        } else if kind.is_file() {
            file(&entry.path())?;
        }
    }
    Ok(())
}

/// How many lines of a file are in unsafe blocks, bodies of unsafe functions or unsafe impls; each once.
fn not_safe(text: &str) -> syn::Result<usize> {
    let mut found = Found::default();
    found.visit_file(&syn::parse_file(text)?);
    Ok(found.lines.len())
}

#[derive(Default)]
struct Found {
    lines: BTreeSet<usize>,
}

impl Found {
    fn add(&mut self, span: Span) {
        self.lines.extend(span.start().line..=span.end().line);
    }

    /// What a macro is given or becomes is not parsed. Its unsafe blocks, functions and impls are still to be seen:
    /// the braces that follow `unsafe`, if nothing ends the item before them.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut since = None;
        let mut foreign = false;
        for token in tokens {
            match &token {
                TokenTree::Ident(ident) if ident == "unsafe" => {
                    (since, foreign) = (Some(ident.span()), false);
                }
                // `unsafe extern "C" {` declares; `unsafe extern "C" fn` does not.
                TokenTree::Ident(ident) if ident == "extern" => foreign = true,
                TokenTree::Ident(ident) if ident == "fn" => foreign = false,
                TokenTree::Ident(ident) if ident == "trait" => since = None,
                TokenTree::Punct(punct) if matches!(punct.as_char(), ';' | ',' | '=') => since = None,
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                    if let Some(start) = since.take().filter(|_| !foreign) {
                        self.lines
                            .extend(start.start().line..=group.span_close().end().line);
                    }
                }
                _ => {}
            }
            if let TokenTree::Group(group) = token {
                self.add_tokens(group.stream());
            }
        }
    }
}

fn only_in_tests(attributes: &[Attribute]) -> bool {
    let test = |attribute: &Attribute| {
        let condition = attribute.meta.require_list().ok();
        attribute.path().is_ident("cfg") && condition.is_some_and(|list| list.tokens.to_string() == "test")
    };
    attributes.iter().any(test)
}

impl<'ast> Visit<'ast> for Found {
    fn visit_expr_unsafe(&mut self, block: &'ast ExprUnsafe) {
        self.add(block.span());
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        if only_in_tests(&function.attrs) {
            return;
        }
        if is_unsafe(&function.sig) {
            self.add(function.block.span());
        }
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        if is_unsafe(&function.sig) {
            self.add(function.block.span());
        }
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(body) = function.default.as_ref().filter(|_| is_unsafe(&function.sig)) {
            self.add(body.span());
        }
        visit::visit_trait_item_fn(self, function);
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        if item.unsafety.is_some() {
            self.add(item.span());
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if !only_in_tests(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_macro(&mut self, invocation: &'ast Macro) {
        self.add_tokens(invocation.tokens.clone());
    }
}

fn is_unsafe(signature: &syn::Signature) -> bool {
    matches!(signature.safety, syn::Safety::Unsafe(_))
}

#[cfg(test)]
mod tests {
    use super::{is_aside, not_safe};

    fn lines(text: &str) -> usize {
        not_safe(text).unwrap()
    }

    #[test]
    fn blocks_functions_and_impls() {
        assert_eq!(lines("fn safe() {\n    let x = 1;\n}"), 0);
        assert_eq!(lines("fn f() {\n    unsafe {\n        g();\n    }\n}"), 3);
        assert_eq!(
            lines("/// Only the body.\nunsafe fn f(\n    x: u8,\n) {\n    g(x);\n}"),
            3
        );
        assert_eq!(
            lines("unsafe impl Send for X {}\nimpl X {\n    unsafe fn f() {}\n}"),
            2
        );
        assert_eq!(lines("trait T {\n    unsafe fn f();\n    unsafe fn g() {}\n}"), 1);
    }

    #[test]
    fn a_line_counts_once() {
        assert_eq!(
            lines("unsafe fn f() {\n    unsafe { g() };\n    unsafe { h() }\n}"),
            4
        );
    }

    #[test]
    fn declarations_and_tests_do_not_count() {
        assert_eq!(
            lines("unsafe extern \"C\" {\n    fn f();\n}\ntype F = unsafe fn();"),
            0
        );
        assert_eq!(
            lines("#[cfg(test)]\nmod tests {\n    fn f() {\n        unsafe { g() }\n    }\n}"),
            0
        );
        assert_eq!(
            lines("#[cfg(unix)]\nmod unix {\n    fn f() {\n        unsafe { g() }\n    }\n}"),
            1
        );
    }

    #[test]
    fn macros_are_seen_through() {
        assert_eq!(lines("m! {\n    unsafe {\n        f()\n    }\n}"), 3);
        assert_eq!(
            lines("macro_rules! m { () => {\n    unsafe impl Send for X {}\n    fn g() {}\n} }"),
            1
        );
        assert_eq!(
            lines("m! { unsafe extern \"C\" { fn f(); } }\nm! { type F = unsafe fn(); struct S {} }"),
            0
        );
    }

    #[test]
    fn tests_are_known_by_their_names() {
        assert!(
            ["tests", "tests.rs", "association_test.rs"]
                .into_iter()
                .all(is_aside)
        );
        assert!(!["lib.rs", "attest.rs", "testing"].into_iter().any(is_aside));
    }

    #[test]
    fn what_is_not_rust_is_told() {
        assert!(not_safe("{ half a").is_err());
    }
}
