//! The token with which scrapers read over the loopback address: made once, kept in a file for who may read it.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{StoreError, io_error, write_synced};

/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;
/// Fewer characters than this can be guessed.
const SHORTEST: usize = 32;
/// Longest file that is read, bytes.
const LONGEST: u64 = 1024;

/// A new secret, in hexadecimal.
///
/// # Errors
/// The system has no randomness.
pub(crate) fn secret() -> io::Result<String> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// The token of `<state_dir>/http.token`, which is made if it is missing, with mode 0600. Its owner may let a group
/// read it; it is refused if everybody may.
///
/// # Errors
/// [`StoreError::Io`], or [`StoreError::Damaged`] if it is too short or everybody may read it.
pub(crate) fn http_token(state_dir: &Path) -> Result<String, StoreError> {
    let path = state_dir.join("http.token");
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let token = secret().map_err(io_error("make", &path))?;
            let new = path.with_extension("new");
            write_synced(&new, format!("{token}\n").as_bytes())?;
            fs::rename(&new, &path).map_err(io_error("rename", &new))?;
            return Ok(token);
        }
        Err(error) => return Err(io_error("open", &path)(error)),
    };
    let mode = file.metadata().map_err(io_error("examine", &path))?.permissions().mode();
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).map_err(io_error("read", &path))?;
    let token = text.trim();
    let fault = match () {
        () if mode & 0o007 != 0 => Some("everybody may read it; `chmod o= FILE`, and make a new token"),
        () if token.len() < SHORTEST || !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Some("a token has at least 32 characters without blanks; remove it, and the next start makes one")
        }
        () => None,
    };
    fault.map_or_else(|| Ok(token.to_owned()), |what| Err(StoreError::Damaged { path, what }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_refused_when_it_is_no_secret() {
        let folder = std::env::temp_dir().join(format!("ringfence-token-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("http.token");
        let token = http_token(&folder).unwrap();
        assert_eq!((token.len(), http_token(&folder).unwrap()), (64, token.clone()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for (name, text, mode, good) in [
            ("one's own, for a group", "0123456789abcdef0123456789ABCDE_\n", 0o640, true),
            ("for everybody", token.as_str(), 0o604, false),
            ("short", "0123456789", 0o600, false),
            ("empty", "", 0o600, false),
            ("two words", "0123456789abcdef 0123456789abcdef", 0o600, false),
        ] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(http_token(&folder).is_ok(), good, "{name}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
