//! Policy text.

use control::policy::{CompileOptions, Limits, SourceFile, admit, compile, load_texts};

/// Loads the text as a policy; if it is one, compiles and admits it. Messages stay of a readable size.
pub(crate) fn load(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let file = SourceFile { name: "fuzz.yaml".to_owned(), text: text.to_owned() };
    match load_texts(&[file]) {
        Err(faults) => {
            assert!(!faults.is_empty(), "refused without a reason");
            assert!(faults.render(false).len() < 4 << 20, "too much is said");
        }
        Ok(loaded) => {
            let options = CompileOptions { limits: Limits { bytes: 64 << 20 }, ..CompileOptions::default() };
            if let Ok(compiled) = compile(&loaded.policy, &options) {
                let _ = admit(&loaded.policy, &compiled);
            }
        }
    }
}

/// The policies of the source tree.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        include_str!("../../../config/policies/three-tier.yaml"),
        include_str!("../../../config/policies/assertions.yaml"),
        include_str!("../../../config/policies/two-applications-one-database.yaml"),
    ];
    texts.into_iter().map(|text| text.as_bytes().to_vec()).collect()
}
