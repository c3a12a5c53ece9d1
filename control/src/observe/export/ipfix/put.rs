//! Texts as IPFIX has them: a length, then UTF-8 of at most so many bytes.

use crate::policy::valid::Labels;

/// What a text that was cut ends with.
const CUT: &str = "…";

/// What stands for no text: some collectors refuse a variable length of 0.
const NONE: &str = "-";

/// Appends a string of variable length (RFC 7011 7), cut to `most` bytes, at most 254; `-` for none.
pub(super) fn put_text(text: &str, most: u8, into: &mut Vec<u8>) {
    let most = most.min(254);
    let text = if text.is_empty() { NONE } else { text };
    let kept = |text: &str| u8::try_from(text.len()).ok().filter(|length| *length <= most);
    if let Some(length) = kept(text) {
        into.push(length);
        into.extend_from_slice(text.as_bytes());
        return;
    }
    let end = text.floor_char_boundary(usize::from(most).saturating_sub(CUT.len()));
    let short = &text[..end];
    let length = u8::try_from(short.len() + CUT.len()).unwrap_or(most);
    into.push(length);
    into.extend_from_slice(short.as_bytes());
    into.extend_from_slice(CUT.as_bytes());
}

/// `app=crm,app=shop,role=db`.
pub(super) fn labels_text(labels: Option<&Labels>) -> String {
    let mut text = String::new();
    for (key, values) in labels.into_iter().flatten() {
        for value in values {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(key);
            text.push('=');
            text.push_str(value);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_letters() {
        for (text, most, expected) in [
            ("", 9, "-"),
            ("shop", 4, "shop"),
            ("shop-web", 7, "shop…"),
            ("öööö", 7, "öö…"),
            ("öööö", 6, "ö…"),
            ("öööö", 8, "öööö"),
        ] {
            let mut bytes = Vec::new();
            put_text(text, most, &mut bytes);
            assert_eq!(usize::from(bytes[0]), bytes.len() - 1, "{text} {most}");
            assert_eq!(std::str::from_utf8(&bytes[1..]), Ok(expected), "{text} {most}");
            assert!(bytes[0] <= most);
        }
        let mut bytes = Vec::new();
        put_text(&"x".repeat(1000), 255, &mut bytes);
        assert_eq!((bytes[0], bytes.len()), (254, 255));
    }

    #[test]
    fn labels_read_as_the_command_line_writes_them() {
        let labels = [("role", &["db"][..]), ("app", &["crm", "shop"])];
        let labels: Labels = labels
            .into_iter()
            .map(|(key, values)| (key.into(), values.iter().map(|value| (*value).into()).collect()))
            .collect();
        assert_eq!(labels_text(Some(&labels)), "app=crm,app=shop,role=db");
        assert_eq!(labels_text(None), "");
    }
}
