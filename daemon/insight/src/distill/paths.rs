//! From the paths of the machine that a session ran on to those of the container.

/// Where the repository lies in the container.
pub(super) const REPO: &str = "/workspace/repo";

/// A path relative to the repository; none when it lies elsewhere. Nothing is looked up in a file system.
pub(super) fn relative(root: &str, cwd: Option<&str>, path: &str) -> Option<String> {
    let whole =
        if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", cwd.unwrap_or(root)) };
    let (root, whole) = (parts(root)?, parts(&whole)?);
    let rest = whole.strip_prefix(root.as_slice())?;
    if rest.iter().any(|part| part.eq_ignore_ascii_case(".git") || part.contains(['\0', '\n', '\r'])) {
        return None;
    }
    Some(rest.join("/"))
}

/// The parts of an absolute path, `.` and `..` resolved by their words; none when that leads above the root.
fn parts(path: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    for part in path.strip_prefix('/')?.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts)
}

/// A text in which the repository's directory has become that of the container.
pub(super) fn mapped(text: &str, root: &str) -> String {
    let root = root.trim_end_matches('/');
    // A directory of that kind is a prefix of everything.
    if root.len() < 2 {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(root) {
        let after = &rest[at + root.len()..];
        let goes_on = |char: char| char.is_alphanumeric() || matches!(char, '_' | '-');
        let next_is_dotted = after.starts_with('.') && after[1..].starts_with(char::is_alphanumeric);
        let before = rest[..at].chars().next_back();
        let inside = after.starts_with(goes_on)
            || next_is_dotted
            || before.is_some_and(|char| goes_on(char) || char == '.');
        out.push_str(&rest[..at]);
        out.push_str(if inside { root } else { REPO });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn paths_below_the_repository_become_relative_and_others_are_refused() {
        let relative = |path| relative("/home/dev/app", Some("/home/dev/app/sub"), path);
        assert_eq!(relative("/home/dev/app/src/x.rs").unwrap(), "src/x.rs");
        assert_eq!(relative("y").unwrap(), "sub/y");
        assert_eq!(relative("../z").unwrap(), "z");
        assert_eq!(relative("/home/dev/app").unwrap(), "");
        for path in ["/home/dev/apple/x", "/etc/passwd", "../../x", "/home/dev/app/.git/hooks/post-checkout"]
        {
            assert_eq!(relative(path), None, "{path}");
        }
    }

    #[test]
    fn the_directory_is_replaced_only_where_it_is_one() {
        assert_eq!(
            mapped("cd /home/dev/app && ls /home/dev/app/src", "/home/dev/app"),
            "cd /workspace/repo && ls /workspace/repo/src"
        );
        assert_eq!(
            mapped("/home/dev/apple /home/dev/app.", "/home/dev/app"),
            "/home/dev/apple /workspace/repo."
        );
        assert_eq!(mapped("x/app", "/"), "x/app");
    }
}
