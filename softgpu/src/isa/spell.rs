//! Patterns of opcodes: `shf(.l|.r)(.wrap|.clamp).b32` is four of them, `add[.rn][.ftz].f32` too.

/// The first word of a pattern or opcode.
pub fn head(pattern: &str) -> &str {
    pattern.split(['.', '(', '[']).next().unwrap_or_default()
}

/// The alternatives of the pattern's first group: (what stands before it, may it be left out, the group, the rest).
fn group(pattern: &str) -> Option<(&str, bool, &str, &str)> {
    let open = pattern.find(['(', '['])?;
    let optional = pattern[open..].starts_with('[');
    let close = open + pattern[open..].find(if optional { ']' } else { ')' })?;
    Some((&pattern[..open], optional, &pattern[open + 1..close], &pattern[close + 1..]))
}

/// Is the opcode a spelling of the pattern? `(a|b)` is one of the alternatives, `[a|b]` one of them or none.
pub fn matches(pattern: &str, opcode: &str) -> bool {
    let Some((before, optional, alternatives, rest)) = group(pattern) else { return pattern == opcode };
    let Some(opcode) = opcode.strip_prefix(before) else { return false };
    let taken = |alternative: &str| opcode.strip_prefix(alternative).is_some_and(|left| matches(rest, left));
    alternatives.split('|').any(taken) || optional && matches(rest, opcode)
}

/// All spellings of a pattern.
pub fn out(pattern: &str) -> Vec<String> {
    let Some((before, optional, alternatives, rest)) = group(pattern) else { return vec![pattern.to_string()] };
    let rests = out(rest);
    let choices = optional.then_some("").into_iter().chain(alternatives.split('|'));
    choices.flat_map(|choice| rests.iter().map(move |rest| format!("{before}{choice}{rest}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::{head, matches, out};

    #[test]
    fn patterns_are_spelt_out() {
        assert_eq!(out("ret"), ["ret"]);
        assert_eq!(out("shf(.l|.r).b32"), ["shf.l.b32", "shf.r.b32"]);
        assert_eq!(out("add[.rn][.ftz].f32"), ["add.f32", "add.ftz.f32", "add.rn.f32", "add.rn.ftz.f32"]);
        assert_eq!(out("ld[.nc|.volatile](.u8|.b8)").len(), 6);
    }

    #[test]
    fn every_spelling_matches_and_nothing_else() {
        for pattern in ["ret", "shf(.l|.r).b32", "add[.rn][.ftz].f32", "ld[.v2|.v4](.b8|.b16)"] {
            assert!(out(pattern).iter().all(|spelling| matches(pattern, spelling)), "{pattern}");
            assert!(out(pattern).iter().all(|spelling| head(spelling) == head(pattern)), "{pattern}");
            assert!(!matches(pattern, "shf.b32") && !matches(pattern, "add.ftz.rn.f32") && !matches(pattern, "ld.v2"));
        }
    }
}
