//! Regular expressions in schemas: estimates their compiled size, so that only small ones are compiled, and translates those of
//! other engines.

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

/// Returns the estimated cost of `pattern` in states, with a surcharge for backtracking.
pub fn cost(pattern: &str) -> u64 {
    states(pattern).saturating_add(if backtracks(pattern) { 10_000 } else { 0 })
}

/// Returns whether the pattern needs backtracking: it uses look-around or backreferences.
pub fn backtracks(pattern: &str) -> bool {
    ["(?=", "(?!", "(?<", "(?>", "(?("].iter().any(|look| pattern.contains(look))
        || pattern.as_bytes().windows(2).any(|pair| pair[0] == b'\\' && (pair[1].is_ascii_digit() || pair[1] == b'k'))
}

/// Translates a regular expression of another engine (Python, PCRE, Ruby, .NET, a JavaScript literal with slashes) to the
/// dialect of the checker. Returns the expression unchanged where it needs no translation. May be invalid.
pub fn translated(pattern: &str) -> String {
    let (body, flags) = literal(pattern).unwrap_or((pattern, String::new()));
    let mut out = flags;
    let chars: Vec<char> = body.chars().collect();
    let (mut at, mut in_class) = (0, false);
    // Start of the last atom in `out`, and of the groups that are open.
    let (mut atom, mut groups): (usize, Vec<usize>) = (0, vec![]);
    let starts = |at: usize, text: &str| text.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
    while at < chars.len() {
        let c = chars[at];
        if c == '\\' {
            let Some(&next) = chars.get(at + 1) else {
                out.push(c);
                break;
            };
            if !in_class {
                atom = out.len();
            }
            at += 2;
            match next {
                'A' if !in_class => out.push('^'),
                'Z' | 'z' if !in_class => out.push('$'),
                'R' if !in_class => out.push_str(r"(?:\r\n|[\n\r])"),
                'h' => out.push_str(if in_class { r" \t" } else { r"[ \t]" }),
                'a' => out.push_str(r"\x07"),
                'e' => out.push_str(r"\u001B"),
                'p' | 'P' if chars.get(at).is_some_and(char::is_ascii_alphabetic) => {
                    out.push_str(&format!("\\{next}{{{}}}", chars[at]));
                    at += 1;
                }
                'Q' => {
                    let end = (at..chars.len()).find(|&i| starts(i, "\\E")).unwrap_or(chars.len());
                    let quoted: String = chars[at..end].iter().collect();
                    out.push_str(&regex::escape(&quoted));
                    at = (end + 2).min(chars.len());
                }
                'E' => {}
                other => out.extend(['\\', other]),
            }
            continue;
        }
        if in_class {
            match posix_class(&chars, at) {
                Some((ranges, length)) => {
                    out.push_str(ranges);
                    at += length;
                    continue;
                }
                None => {
                    in_class = c != ']';
                    out.push(c);
                }
            }
            at += 1;
            continue;
        }
        match c {
            '[' => {
                (in_class, atom) = (true, out.len());
                out.push(c);
                // `[]a]` and `[^]a]`: the bracket is a member (POSIX).
                let negated = chars.get(at + 1) == Some(&'^');
                if negated {
                    out.push('^');
                    at += 1;
                }
                if chars.get(at + 1) == Some(&']') && chars[at + 2..].contains(&']') {
                    out.push_str(r"\]");
                    at += 1;
                }
            }
            '(' if starts(at, "(?#") => {
                at += (at..chars.len()).position(|i| chars[i] == ')').unwrap_or(chars.len() - at);
            }
            '(' if starts(at, "(?P=") => {
                let end = (at..chars.len()).find(|&i| chars[i] == ')').unwrap_or(chars.len());
                let name: String = chars[(at + 4).min(end)..end].iter().collect();
                atom = out.len();
                out.push_str(&format!("\\k<{name}>"));
                at = end;
            }
            '(' if starts(at, "(?P<") => {
                groups.push(out.len());
                out.push_str("(?<");
                at += 3;
            }
            '(' if starts(at, "(?'") => {
                let end = (at + 3..chars.len()).find(|&i| chars[i] == '\'').unwrap_or(chars.len());
                let name: String = chars[(at + 3).min(end)..end].iter().collect();
                groups.push(out.len());
                out.push_str(&format!("(?<{name}>"));
                at = end;
            }
            '(' => {
                groups.push(out.len());
                out.push(c);
            }
            ')' => {
                atom = groups.pop().unwrap_or(0);
                out.push(c);
            }
            // A possessive quantifier is an atomic group.
            '+' if out.len() > atom && possessive(&out[atom..]) => {
                out.insert_str(atom, "(?>");
                out.push(')');
            }
            '*' | '+' | '?' | '{' | '}' | ',' => out.push(c),
            c if c.is_ascii_digit() && out[atom..].contains('{') && !out[atom..].contains('}') => out.push(c),
            c => {
                atom = out.len();
                out.push(c);
            }
        }
        at += 1;
    }
    out
}

/// Returns whether an atom ends with a quantifier, so that `+` after it is possessive.
fn possessive(quantified: &str) -> bool {
    let escaped = quantified.len() >= 2 && quantified.as_bytes()[quantified.len() - 2] == b'\\';
    let only = quantified.chars().count() == 1;
    !escaped
        && !only
        && (quantified.ends_with(['*', '+', '?']) || quantified.ends_with('}') && quantified.contains('{') && !quantified.starts_with('\\'))
}

/// Returns body and flags of a JavaScript literal: `/^a$/i`. Only if it is anchored: such an expression cannot match with its
/// slashes.
fn literal(pattern: &str) -> Option<(&str, String)> {
    let (body, flags) = pattern.strip_prefix('/')?.rsplit_once('/')?;
    let known = flags.len() <= 6 && flags.bytes().all(|flag| b"dgimsuvy".contains(&flag));
    let anchored = body.starts_with('^') || body.ends_with('$');
    let inline: String = flags.chars().filter(|flag| "ims".contains(*flag)).collect();
    (known && anchored).then(|| (body, if inline.is_empty() { inline } else { format!("(?{inline})") }))
}

/// Returns the ranges of a POSIX class such as `[:alpha:]` at this position inside of a class, and its length.
fn posix_class(chars: &[char], at: usize) -> Option<(&'static str, usize)> {
    const CLASSES: [(&str, &str); 8] = [
        ("[:alpha:]", "A-Za-z"),
        ("[:digit:]", "0-9"),
        ("[:alnum:]", "A-Za-z0-9"),
        ("[:upper:]", "A-Z"),
        ("[:lower:]", "a-z"),
        ("[:space:]", r"\s"),
        ("[:xdigit:]", "A-Fa-f0-9"),
        ("[:word:]", r"\w"),
    ];
    let found = CLASSES.iter().find(|(name, _)| name.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c)))?;
    Some((found.1, found.0.len()))
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

    #[test]
    fn expressions_of_other_engines_are_translated() {
        for (foreign, own) in [
            (r"\A[a-z]+\Z", "^[a-z]+$"),
            (r"^a++b", "^(?>a+)b"),
            (r"^[a-z]*+x", "^(?>[a-z]*)x"),
            (r"^(ab){2,3}+x", "^(?>(ab){2,3})x"),
            (r"(?P<a>x)(?P=a)", r"(?<a>x)\k<a>"),
            (r"(?'a'x)y", "(?<a>x)y"),
            (r"a(?#note)b", "ab"),
            (r"\Qa.b\E$", r"a\.b$"),
            (r"[[:alpha:]_]\h", r"[A-Za-z_][ \t]"),
            (r"\pL+", r"\p{L}+"),
            ("/^[a-z]+$/i", "(?i)^[a-z]+$"),
            (r"[]a]b", r"[\]a]b"),
        ] {
            assert_eq!(translated(foreign), own, "{foreign}");
        }
        for same in [
            "^[a-z0-9-]{1,64}$",
            r"^\d{4}-\d{2}$",
            "/path/",
            r"^(?!_)\w+$",
            r"a\+\+",
            "a+?",
            "x{2}",
            r"\p{Lu}+",
            "[+*]+",
            "^(?=.*[a-z])a*?$",
            "[a",
            "(",
            "a{",
            r"\",
        ] {
            assert_eq!(translated(same), same);
        }
    }
}
