//! Masks what looks secret in diffs for people: variables by their names, passwords in addresses by
//! their place.
//!
//! Invariant: a masked value shows neither its characters, nor its length, nor a hash of it.

use freehold_model::{
    masking::{MASK, looks_secret, without_passwords},
    plan::Field,
};

/// The field as people may see it.
pub(crate) fn masked(field: &Field) -> Field {
    let secret = field.path.strip_prefix("env.").is_some_and(looks_secret);
    let hide = |value: &Option<String>| {
        value.as_ref().map(|value| if secret { MASK.into() } else { without_passwords(value) })
    };
    let mut shown =
        Field { path: field.path.clone(), before: hide(&field.before), after: hide(&field.after) };
    if shown.before == shown.after && field.before != field.after {
        shown.after = shown.after.map(|text| format!("{text} (changed)"));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_called_so() {
        let same = Some("x".to_owned());
        let field = Field { path: "env.A_TOKEN".into(), before: same.clone(), after: same };
        assert_eq!(masked(&field).after.as_deref(), Some(MASK));
    }
}
