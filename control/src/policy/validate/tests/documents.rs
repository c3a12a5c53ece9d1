//! Faults of documents and shapes.

use super::{check, faults};
use crate::policy::diagnostics::{Code, Severity};

#[test]
fn documents_and_shapes() {
    use Severity::Error;
    check(&[
        ("unknown field", "ruless: []", Error, Code::UnknownField, 2, 1),
        ("wrong type", "rules: 5", Error, Code::WrongType, 2, 8),
        ("item of wrong type", "rules: [5]", Error, Code::WrongType, 2, 9),
        ("blank list", "rules:", Error, Code::Blank, 2, 6),
        ("duplicate key", "rules: []\nrules: []", Error, Code::DuplicateKey, 3, 1),
        (
            "merge key",
            "workloads:\n- {<<: {name: a}, name: b, addresses: 1.1.1.1}",
            Error,
            Code::YamlFeature,
            3,
            4,
        ),
        ("tag", "rules: !x []", Error, Code::YamlFeature, 2, 11),
        ("list as key", "[a]: b", Error, Code::YamlFeature, 2, 1),
        ("missing name", "workloads:\n- addresses: [1.1.1.1]", Error, Code::MissingField, 3, 3),
        ("blank name", "workloads:\n- {name: ~, addresses: 1.1.1.1}", Error, Code::Blank, 3, 10),
        (
            "one slip, one error",
            "workloads:\n- {name: a, adresses: [1.1.1.1]}",
            Error,
            Code::UnknownField,
            3,
            13,
        ),
        (
            "field of another kind",
            "networks:\n- {name: a, cidrs: 1.0.0.0/8, wire: w}",
            Error,
            Code::UnknownField,
            3,
            31,
        ),
    ]);
    let whole_files: &[(&str, &str, Code, u32, u32)] = &[
        ("empty file", "", Code::Empty, 0, 0),
        ("comment only", "# nothing\n", Code::Empty, 0, 0),
        ("no marker", "rules: []\n", Code::NotNative, 1, 1),
        ("kubernetes", "apiVersion: v1\nkind: Pod\n", Code::MissingField, 1, 1),
        ("another version", "ringfence: 2\nrules: 5\n", Code::Version, 1, 12),
        ("blank version", "ringfence:\n", Code::Blank, 1, 10),
        ("a word", "hello\n", Code::WrongType, 1, 1),
        ("not yaml", "ringfence: 1\nrules: [\n", Code::Syntax, 2, 8),
        ("tab", "ringfence: 1\nrules:\n\t- a\n", Code::Syntax, 3, 2),
        ("unknown alias", "ringfence: 1\nrules: *nobody\n", Code::Syntax, 2, 8),
        ("alias in itself", "ringfence: 1\nrules: &r [*r]\n", Code::YamlFeature, 2, 12),
    ];
    for &(name, text, code, line, column) in whole_files {
        let first = faults(text).into_iter().next();
        assert_eq!(first, Some((Error, code, line, column)), "{name}: {text:?}");
    }
}
