//! The password of the BMCs' user: from a file that is not for everybody, read at each use so that a new one counts at once.

use std::{fs::File, io::Read as _, os::unix::fs::PermissionsExt as _, path::Path};

/// A longer file holds something else.
const LONGEST: u64 = 1024;

/// What the file holds, without the end of its line.
///
/// # Errors
/// A sentence, which never holds what the file does.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| format!("read the password in {shown}: {error}");
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(format!(
            "{shown} is open to everybody (mode {mode:04o}), and a password must not be: chmod o= {shown}"
        ));
    }
    let mut text = String::new();
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(unreadable)?;
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    let is_one_line = !password.is_empty() && !password.contains(char::is_control) && text.len() as u64 <= LONGEST;
    is_one_line.then(|| password.to_owned()).ok_or_else(|| format!("{shown} does not hold a password in one line"))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    fn held(text: &str, mode: u32) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bmc.password");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        read(&path)
    }

    #[test]
    fn the_end_of_the_line_is_not_of_the_password() {
        for text in ["secret word", "secret word\n", "secret word\r\n"] {
            assert_eq!(held(text, 0o640), Ok("secret word".to_owned()), "{text:?}");
        }
    }

    #[test]
    fn what_everybody_may_read_is_refused_with_what_to_do() {
        let why = held("secret", 0o644).unwrap_err();
        assert!(why.contains("0644") && why.contains("chmod o=") && !why.contains("secret"), "{why}");
    }

    #[test]
    fn what_is_no_password_is_refused_without_being_shown() {
        for text in ["", "\n", "user\nsecret\n", &"secret".repeat(200)] {
            let why = held(text, 0o600).unwrap_err();
            assert!(why.contains("one line") && !why.contains("secret"), "{why}");
        }
        assert!(read(Path::new("/nowhere/password")).unwrap_err().contains("/nowhere/password"));
    }
}
