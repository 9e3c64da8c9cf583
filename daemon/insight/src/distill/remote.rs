//! Where a repository can be cloned from. The text comes from a record: it is checked, never just used.

/// A remote that `git clone` may be given, without credentials; none when it is not one.
///
/// Only forms that are known are let through: `https://`, `http://`, `ssh://`, `git@host:path`, and `file://`
/// where that is allowed. So no text is taken for an option, and no helper of git (`ext::…`) is started.
pub(super) fn clonable(text: &str, allow_file: bool) -> Option<String> {
    let plain = |text: &str| {
        text.len() <= 1024
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~/:@%+-=".contains(&byte))
            && !text.contains("..")
    };
    if !plain(text) {
        return None;
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let (authority, path) = rest.split_once('/')?;
        let host = authority.rsplit('@').next().unwrap_or(authority);
        return match scheme.to_ascii_lowercase().as_str() {
            "https" | "http" => {
                (is_host(host) && !path.is_empty()).then(|| format!("{scheme}://{host}/{path}"))
            }
            // The name is part of how one gets in; a password is not.
            "ssh" => {
                let user = authority.rsplit_once('@').map(|(user, _)| user.split(':').next().unwrap_or(user));
                let user =
                    user.filter(|user| is_name(user)).map(|user| format!("{user}@")).unwrap_or_default();
                (is_host(host) && !path.is_empty()).then(|| format!("ssh://{user}{host}/{path}"))
            }
            "file" => {
                (allow_file && authority.is_empty() && !path.is_empty()).then(|| format!("file:///{path}"))
            }
            _ => None,
        };
    }
    let (login, path) = text.split_once(':')?;
    let (user, host) = login.split_once('@')?;
    let fits = user == "git" && is_host(host) && !path.is_empty() && !path.starts_with(['-', ':']);
    fits.then(|| format!("git@{host}:{path}"))
}

/// A commit's id in full or abbreviated.
pub(super) fn commit(text: &str) -> Option<&str> {
    ((7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(text)
}

fn is_host(host: &str) -> bool {
    let (name, port) = host.split_once(':').unwrap_or((host, "0"));
    is_name(name) && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_name(name: &str) -> bool {
    name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remotes_lose_their_credentials_and_keep_the_rest() {
        for (text, expected) in [
            ("https://me:pass@example.org/team/app.git", "https://example.org/team/app.git"),
            ("https://token@example.org:8443/app", "https://example.org:8443/app"),
            ("ssh://git:x@example.org:22/app.git", "ssh://git@example.org:22/app.git"),
            ("git@example.org:team/app.git", "git@example.org:team/app.git"),
        ] {
            assert_eq!(clonable(text, false).as_deref(), Some(expected));
        }
        assert_eq!(clonable("file:///srv/app.git", true).as_deref(), Some("file:///srv/app.git"));
    }

    #[test]
    fn what_could_do_something_else_is_no_remote() {
        for text in [
            "ext::sh -c touch% /tmp/x",
            "--upload-pack=touch /tmp/x",
            "-u:x",
            "git@-oProxyCommand=x:app",
            "ssh://-oProxyCommand=x/app",
            "https://example.org/a b",
            "https://example.org/$(id)",
            "https://example.org/a\nRUN id",
            "https://example.org/../../x",
            "file:///srv/app.git",
            "/srv/app.git",
            "../app",
            "",
        ] {
            assert_eq!(clonable(text, false), None, "{text}");
        }
        assert_eq!(commit("--detach"), None);
        assert_eq!(commit("9f31c0de"), Some("9f31c0de"));
    }
}
