//! `ringfence policy test`: the tests that policy files carry, for people and for CI.

use std::fmt::Write;
use std::path::Path;

use control::policy::diagnostics::Severity;
use control::policy::{CompileOptions, Diagnostics, Tested, compile, run_tests};
use serde_json::json;

use super::offline::loaded;
use super::policy_args::TestArgs;
use super::print::{self, out};
use crate::outcome::{Failure, Outcome};

/// Loads the files as one policy, asks whether it would be published, and runs its tests.
pub(super) fn test(args: &TestArgs) -> Outcome {
    let paths: Vec<_> = args.policy.iter().chain(&args.files).cloned().collect();
    let loaded = loaded(&paths)?;
    let compiled = compile(&loaded.policy, &CompileOptions::default()).map_err(Failure::failed)?;
    let refused = loaded.admit(&compiled).err();
    let tested = run_tests(&loaded.policy, compiled.named());
    if let Some(path) = &args.junit {
        write(path, &junit(refused.as_ref(), &tested))?;
    }
    let failed = tested.iter().filter(|one| !one.passed).count();
    if args.json {
        print::json(&json!({
            "ok": refused.is_none() && failed == 0 && !tested.is_empty(),
            "passed": tested.len() - failed,
            "failed": failed,
            "refused": refused.as_ref().map(|faults| json!(faults)["diagnostics"].take()),
            "assertions": loaded.policy.assertions.len(),
            "tests": tested,
        }))?;
    } else {
        out(&told(&tested))?;
        out(&format!("{} passed, {failed} failed\n", tested.len() - failed))?;
        if let Some(faults) = &refused {
            eprint!("{}", faults.render(print::color()));
        }
    }
    match (tested.is_empty(), failed, refused) {
        (true, ..) => Err(Failure::Failed("these files have no tests; write them under `tests:`".to_owned())),
        (_, 0, None) => Ok(()),
        _ => Err(Failure::Told),
    }
}

/// A line for each test.
fn told(tested: &[Tested]) -> String {
    let mut text = String::new();
    for one in tested {
        let mark = if one.passed { "ok  " } else { "FAIL" };
        let got = one.got.as_ref().map_or("nothing", |got| got.verdict);
        let name = if one.name == one.flow { String::new() } else { format!("{}: ", one.name) };
        let expected = match (&one.expected.rule, one.passed) {
            (_, true) => String::new(),
            (Some(rule), false) => format!(", expected {} by {rule}", one.expected.verdict),
            (None, false) => format!(", expected {}", one.expected.verdict),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{mark} {name}{}: {got}{expected}, by {}", one.flow, one.why);
    }
    text
}

fn write(path: &Path, text: &str) -> Outcome {
    std::fs::write(path, text)
        .map_err(|error| Failure::Failed(format!("{} cannot be written: {error}", path.display())))
}

/// JUnit's XML, as CI systems read it: a case for whether the policy would be published, and one for each test.
fn junit(refused: Option<&Diagnostics>, tested: &[Tested]) -> String {
    let errors = refused.into_iter().flatten().filter(|one| one.severity == Severity::Error);
    let admitted: Vec<String> =
        errors.map(|one| format!("{}:{}:{}: {}", one.file, one.line, one.column, one.message)).collect();
    let failures = tested.iter().filter(|one| !one.passed).count() + usize::from(!admitted.is_empty());
    let tests = tested.len() + 1;
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"{tests}\" failures=\"{failures}\">\n  \
         <testsuite name=\"ringfence policy test\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" \
         skipped=\"0\">\n"
    );
    case(&mut text, "policy", "may be published", &admitted.join("\n"));
    for one in tested {
        let got = one.got.as_ref().map_or("nothing", |got| got.verdict);
        let rule = one.expected.rule.as_ref().map_or_else(String::new, |rule| format!(" by {rule}"));
        let fault = if one.passed {
            String::new()
        } else {
            let Tested { file, line, flow, why, .. } = one;
            format!("{file}:{line}: {flow}: expected {}{rule}, got {got}, by {why}", one.expected.verdict)
        };
        case(&mut text, &one.file, &one.name, &fault);
    }
    text.push_str("  </testsuite>\n</testsuites>\n");
    text
}

/// One case; it failed if there is a fault.
fn case(text: &mut String, class: &str, name: &str, fault: &str) {
    let (class, name, told) = (escaped(class), escaped(name), escaped(fault));
    let _ = write!(text, "    <testcase classname=\"{class}\" name=\"{name}\" time=\"0\"");
    if fault.is_empty() {
        text.push_str("/>\n");
    } else {
        let _ = writeln!(text, ">\n      <failure message=\"{told}\">{told}</failure>\n    </testcase>");
    }
}

/// Text for XML: markup escaped; characters that XML cannot hold replaced.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' => safe.push_str("&#10;"),
            '\t' => safe.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::{escaped, junit};

    #[test]
    fn xml_holds_any_text() {
        for (name, text, expected) in [
            ("markup", "a<b>&\"c\"", "a&lt;b&gt;&amp;&quot;c&quot;"),
            ("lines stay lines", "a\nb", "a&#10;b"),
            ("what XML cannot hold", "a\u{0}\u{1b}[31m\u{ffff}", "a\u{fffd}\u{fffd}[31m\u{fffd}"),
            ("other languages", "é→日", "é→日"),
        ] {
            assert_eq!(escaped(text), expected, "{name}");
        }
    }

    #[test]
    fn a_policy_without_tests_is_still_one_case() {
        let text = junit(None, &[]);
        assert!(text.contains("tests=\"1\" failures=\"0\""), "{text}");
        assert_eq!(text.matches("<testcase").count(), 1);
    }
}
