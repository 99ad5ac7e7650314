//! The version of the program.

use std::sync::LazyLock;

/// The commit that the program was built of, if the build says so: packages and releases set SWITCHBOARD_COMMIT, and a build without
/// git works.
const COMMIT: Option<&str> = option_env!("SWITCHBOARD_COMMIT");

/// The C library, which a target names after the system.
const LIBRARY: &str = if cfg!(target_env = "gnu") {
    "-gnu"
} else if cfg!(target_env = "musl") {
    "-musl"
} else {
    ""
};

static LONG: LazyLock<String> = LazyLock::new(|| {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let (arch, system) = (std::env::consts::ARCH, std::env::consts::OS);
    format!(
        "{}\ncommit   {}\ntarget   {arch}-{system}{LIBRARY}\nbuild    {profile}\nlicense  {}",
        env!("CARGO_PKG_VERSION"),
        COMMIT.unwrap_or("unknown"),
        env!("CARGO_PKG_LICENSE")
    )
});

/// Returns version, commit, target, kind of build and license, one on each line.
pub fn long() -> &'static str {
    &LONG
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_long_version_begins_with_the_short_one() {
        let lines: Vec<&str> = super::long().lines().collect();
        assert_eq!(lines[0], env!("CARGO_PKG_VERSION"));
        assert!(lines[1].starts_with("commit") && lines[2].contains(std::env::consts::ARCH), "{lines:?}");
    }
}
