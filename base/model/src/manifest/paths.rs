//! Places inside an instance, as text.

/// The path without what says nothing: `/a//./b` is `/a/b`.
pub(super) fn plain(path: &str) -> String {
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    parts.flat_map(|part| ["/", part]).collect()
}

/// Whether `path` is below `folder`; both plain.
pub(super) fn inside(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}
