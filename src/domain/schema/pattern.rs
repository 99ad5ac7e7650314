//! Estimates the compiled size of a regular expression, so that only small ones are compiled.

/// Returns the estimated number of states of `pattern`: its characters times their repetitions.
///
/// `{n,m}` multiplies the repeated item by the larger number. The size of a repeated group is not determined: the
/// whole pattern up to there counts.
pub fn states(pattern: &str) -> u64 {
    let bytes = pattern.as_bytes();
    let (mut total, mut at) = (0u64, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => {
                // `\w`, `\p{…}`: a class has many ranges.
                total = total.saturating_add(if matches!(bytes.get(at + 1), Some(b'p' | b'P')) { 200 } else { 4 });
                at += 2;
                continue;
            }
            b'{' => {
                if let Some((times, end)) = repetition(bytes, at) {
                    // Only a group can contain more than the one item before the braces.
                    let repeated = if bytes[..at].last() == Some(&b')') { total } else { item(bytes, at) };
                    total = total.saturating_add(repeated.saturating_mul(times.saturating_sub(1)));
                    at = end;
                    continue;
                }
                total = total.saturating_add(1);
            }
            _ => total = total.saturating_add(1),
        }
        at += 1;
    }
    total
}

/// Returns the size of the character or class that ends at `end`.
fn item(bytes: &[u8], end: usize) -> u64 {
    match bytes[..end].last() {
        Some(b']') => memchr::memrchr(b'[', &bytes[..end]).map_or(1, |start| (end - start) as u64).min(32),
        Some(b'}') => 200,
        _ => 4,
    }
}

/// Returns the largest count of the repetition whose brace is at `start`, and the offset after it.
fn repetition(bytes: &[u8], start: usize) -> Option<(u64, usize)> {
    let length = memchr::memchr(b'}', &bytes[start..bytes.len().min(start + 42)])?;
    let inner = std::str::from_utf8(&bytes[start + 1..start + length]).ok()?;
    if inner.is_empty() || !inner.bytes().all(|byte| byte.is_ascii_digit() || byte == b',') {
        return None;
    }
    let counts = inner.split(',').filter(|digits| !digits.is_empty()).map(|digits| digits.parse::<u64>().unwrap_or(u64::MAX));
    Some((counts.max()?, start + length + 1))
}

/// Returns whether the pattern needs backtracking: it uses look-around or backreferences.
pub fn backtracks(pattern: &str) -> bool {
    ["(?=", "(?!", "(?<", "(?>", "(?("].iter().any(|look| pattern.contains(look))
        || pattern.as_bytes().windows(2).any(|pair| pair[0] == b'\\' && (pair[1].is_ascii_digit() || pair[1] == b'k'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_are_expanded() {
        for (pattern, most) in [
            ("^[a-z0-9-]{1,64}$", 1_000),
            (r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}$", 100),
            ("^(https?|ftp)://[^/]+$", 40),
            (r"^\{.*\}$", 20),
            ("^a{,}b{x}$", 20),
        ] {
            assert!(states(pattern) <= most, "{pattern}: {}", states(pattern));
        }
        for pattern in
            ["((((a{1000}){1000}){1000}){1000})", "(a?){200}(b{99999})", r"(\w\w\w\w\w\w\w\w){1000}", "(a{99999999999999999999})"]
        {
            assert!(states(pattern) > 10_000, "{pattern}: {}", states(pattern));
        }
        assert!(backtracks(r"^((a|a)*)*\1b$") && backtracks("^(?=(a+)+b)") && !backtracks("^a+(b|c)$"));
    }
}
