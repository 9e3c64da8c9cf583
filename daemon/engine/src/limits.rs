//! Bounds for what a request may say, so that every record fits its row.

use crate::failure::{Failure, FailureKind};
use crate::run::{LeaseKey, StartOptions};

/// Refuses more leases than a record can hold.
pub(crate) fn check_leases(leases: &[LeaseKey]) -> Result<(), Failure> {
    let bytes = leases.iter().map(|key| key.0.len()).sum::<usize>();
    if bytes > 768 || leases.len() > 16 {
        let text = format!(
            "{} leases with {bytes} bytes; a run can hold at most 16 with 768 bytes together",
            leases.len()
        );
        return Err(Failure::new(FailureKind::Invalid, text));
    }
    Ok(())
}

/// Refuses options that are too large or make no sense.
pub(crate) fn check(request_id: Option<&str>, options: &StartOptions) -> Result<(), Failure> {
    let invalid = |text: String| Err(Failure::new(FailureKind::Invalid, text));
    if request_id.is_some_and(|id| id.is_empty() || id.len() > 200 || id.chars().any(char::is_control)) {
        return invalid("a request id has 1 to 200 bytes and no control characters".to_owned());
    }
    if options.name.len() > 200 || options.name.chars().any(char::is_control) {
        return invalid("a name has at most 200 bytes and no control characters".to_owned());
    }
    if options.labels.len() > 64 {
        return invalid(format!("{} labels; a run can have at most 64", options.labels.len()));
    }
    let mut labels = 0;
    for (key, value) in &options.labels {
        labels += key.len() + value.len();
        let bad = |text: &str| text.chars().any(char::is_control);
        if key.is_empty() || key.contains('=') || bad(key) || bad(value) {
            return invalid(format!("the label {key:?} is empty, has a control character or contains '='"));
        }
    }
    if labels > 512 {
        return invalid(format!("labels have {labels} bytes together; at most 512 fit"));
    }
    if let Some(key) =
        options.leases.iter().find(|key| key.0.is_empty() || key.0.chars().any(char::is_control))
    {
        return invalid(format!("the lease {:?} is empty or has a control character", key.0));
    }
    if !(-1000..=1000).contains(&options.priority) {
        return invalid(format!("priority {} is not between -1000 and 1000", options.priority));
    }
    if options.after.len() > 100 {
        return invalid("a run can follow at most 100 others".to_owned());
    }
    let names = options.environment.iter().chain(&options.env).map(|variable| &variable.name);
    let names = names.chain(options.secrets.iter().map(|secret| &secret.name));
    for name in names {
        if name.is_empty() || name.contains(['=', '\0']) {
            return invalid(format!("{name:?} cannot be the name of a variable"));
        }
    }
    Ok(())
}
