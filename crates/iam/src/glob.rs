//! IAM's wildcards: `*` is any run of characters, `?` exactly one.
//!
//! A pattern is compiled once into the segments between its stars. Matching takes the segments from left to
//! right, each at its first occurrence, and never goes back. Time is linear in the text's length; where a
//! segment holds a `?`, each character costs one step per 64 characters of the segment.

use std::collections::BTreeMap;

/// Does `text` match `pattern`? Case-sensitive; callers fold both sides where IAM ignores case.
/// Time is bounded by the product of the lengths over 64, whatever the pattern.
pub fn matches(pattern: &str, text: &str) -> bool {
    Glob::compile(pattern).matches(text)
}

/// A piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// These characters, stars among them meant literally.
    Text(String),
    /// `*`
    Star,
    /// `?`
    One,
}

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Glob {
    /// `*`
    Any,
    /// Without a star.
    Whole(Segment),
    /// With stars: what the text begins with, what follows in this order, what it ends with.
    Stars { head: Segment, middle: Box<[Segment]>, tail: Segment },
}

/// A run without stars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    Plain(Box<str>),
    /// `None` is a `?`.
    Holes(Box<[Option<char>]>, Masks),
}

/// Where each character may stand in a segment with holes, one bit per place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Masks {
    /// Of characters that the segment does not name: the holes.
    others: Box<[u64]>,
    named: BTreeMap<char, Box<[u64]>>,
}

impl Glob {
    pub(crate) fn compile(pattern: &str) -> Self {
        Glob::from_tokens(tokens(pattern))
    }

    pub(crate) fn from_tokens(tokens: impl IntoIterator<Item = Token>) -> Self {
        let mut runs: Vec<Vec<Option<char>>> = vec![Vec::new()];
        for token in tokens {
            let Some(run) = runs.last_mut() else { continue };
            match token {
                Token::Text(text) => run.extend(text.chars().map(Some)),
                Token::One => run.push(None),
                Token::Star => runs.push(Vec::new()),
            }
        }
        let mut runs: Vec<Segment> = runs.into_iter().map(Segment::new).collect();
        let tail = runs.pop();
        let mut runs = runs.into_iter();
        match (runs.next(), tail) {
            (None, tail) => Glob::Whole(tail.unwrap_or_else(|| Segment::Plain("".into()))),
            (Some(head), tail) => {
                let tail = tail.unwrap_or_else(|| Segment::Plain("".into()));
                let middle: Box<[Segment]> = runs.filter(|s| !s.is_empty()).collect();
                if head.is_empty() && middle.is_empty() && tail.is_empty() {
                    Glob::Any
                } else {
                    Glob::Stars { head, middle, tail }
                }
            }
        }
    }

    /// The text itself when there is no wildcard.
    pub(crate) fn literal(&self) -> Option<&str> {
        match self {
            Glob::Whole(Segment::Plain(text)) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        self.matches_counting(text, &mut 0)
    }

    /// As [`Glob::matches`]; adds to `steps` about how many characters were compared.
    pub(crate) fn matches_counting(&self, text: &str, steps: &mut u64) -> bool {
        match self {
            Glob::Any => true,
            Glob::Whole(segment) => segment.prefix(text, steps).is_some_and(str::is_empty),
            Glob::Stars { head, middle, tail } => {
                let Some(rest) = head.prefix(text, steps) else { return false };
                let Some(mut rest) = tail.suffix(rest, steps) else { return false };
                for segment in middle {
                    match segment.find(rest, steps) {
                        Some(after) => rest = after,
                        None => return false,
                    }
                }
                true
            }
        }
    }
}

pub(crate) fn tokens(pattern: &str) -> Vec<Token> {
    let mut all = Vec::new();
    let mut text = String::new();
    for c in pattern.chars() {
        let token = match c {
            '*' => Token::Star,
            '?' => Token::One,
            c => {
                text.push(c);
                continue;
            }
        };
        if !text.is_empty() {
            all.push(Token::Text(std::mem::take(&mut text)));
        }
        all.push(token);
    }
    if !text.is_empty() {
        all.push(Token::Text(text));
    }
    all
}

impl Segment {
    fn new(run: Vec<Option<char>>) -> Self {
        match run.iter().copied().collect::<Option<String>>() {
            Some(text) => Segment::Plain(text.into()),
            None => {
                let masks = Masks::new(&run);
                Segment::Holes(run.into(), masks)
            }
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Segment::Plain(text) if text.is_empty())
    }

    /// What follows the segment when the text begins with it.
    fn prefix<'t>(&self, text: &'t str, steps: &mut u64) -> Option<&'t str> {
        match self {
            Segment::Plain(plain) => {
                *steps += plain.len() as u64;
                text.strip_prefix(&**plain)
            }
            Segment::Holes(holes, _) => {
                let mut chars = text.chars();
                for hole in holes {
                    *steps += 1;
                    let c = chars.next()?;
                    if hole.is_some_and(|wanted| wanted != c) {
                        return None;
                    }
                }
                Some(chars.as_str())
            }
        }
    }

    /// What precedes the segment when the text ends with it.
    fn suffix<'t>(&self, text: &'t str, steps: &mut u64) -> Option<&'t str> {
        match self {
            Segment::Plain(plain) => {
                *steps += plain.len() as u64;
                text.strip_suffix(&**plain)
            }
            Segment::Holes(holes, _) => {
                let mut chars = text.chars();
                for hole in holes.iter().rev() {
                    *steps += 1;
                    let c = chars.next_back()?;
                    if hole.is_some_and(|wanted| wanted != c) {
                        return None;
                    }
                }
                Some(chars.as_str())
            }
        }
    }

    /// What follows the segment's first occurrence.
    fn find<'t>(&self, text: &'t str, steps: &mut u64) -> Option<&'t str> {
        match self {
            Segment::Plain(plain) => {
                let at = text.find(&**plain);
                *steps += at.map_or(text.len(), |at| at + plain.len()) as u64;
                text.get(at? + plain.len()..)
            }
            Segment::Holes(holes, masks) => masks.find(holes.len(), text, steps),
        }
    }
}

impl Masks {
    fn new(run: &[Option<char>]) -> Self {
        let mut others = vec![0_u64; run.len().div_ceil(64)];
        let set = |mask: &mut [u64], at: usize| {
            if let Some(word) = mask.get_mut(at / 64) {
                *word |= 1 << (at % 64);
            }
        };
        for (at, _) in run.iter().enumerate().filter(|(_, c)| c.is_none()) {
            set(&mut others, at);
        }
        let mut named: BTreeMap<char, Box<[u64]>> = BTreeMap::new();
        for (at, c) in run.iter().enumerate().filter_map(|(at, c)| Some((at, (*c)?))) {
            set(named.entry(c).or_insert_with(|| others.clone().into()), at);
        }
        Masks { others: others.into(), named }
    }

    /// What follows the first occurrence of the segment, which has `length` characters. The shift-and search of
    /// Baeza-Yates and Gonnet: a bit per beginning of the segment that the text read so far ends with.
    fn find<'t>(&self, length: usize, text: &'t str, steps: &mut u64) -> Option<&'t str> {
        let (mut stack, mut heap);
        let state: &mut [u64] = if self.others.len() == 1 {
            stack = [0];
            &mut stack
        } else {
            heap = vec![0; self.others.len()];
            &mut heap
        };
        let last = length.checked_sub(1)?;
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let mask = self.named.get(&c).unwrap_or(&self.others);
            let mut carry = 1;
            for (word, mask) in state.iter_mut().zip(mask) {
                *steps += 1;
                let next = *word >> 63;
                *word = ((*word << 1) | carry) & mask;
                carry = next;
            }
            if state.get(last / 64).is_some_and(|word| word >> (last % 64) & 1 == 1) {
                return Some(chars.as_str());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_as_iam_documents_them() {
        for (pattern, text) in
            [("*", ""), ("", ""), ("a*", "a"), ("a*c", "abbc"), ("a?c", "abc"), ("*b*b*", "abcb")]
        {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("", "a"), ("a?", "a"), ("a*c", "abcd"), ("A", "a"), ("?", ""), ("a*a", "a")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn one_is_a_character_not_a_byte() {
        assert!(matches("d?g", "dög") && matches("*?g", "ög") && matches("*d?g*", "xdögx"));
        assert!(!matches("d??g", "dög"));
    }

    #[test]
    fn many_stars_do_not_explode() {
        let pattern = "*a".repeat(500);
        assert!(!matches(&pattern, &"a".repeat(499)));
        assert!(matches(&pattern, &"a".repeat(5_000)));
    }

    #[test]
    fn steps_stay_near_the_texts_length() {
        let text = "a".repeat(2_000);
        for unit in ["*a", "*ab", "*a*b", "a*", "*aaaab"] {
            let pattern = format!("{}x", unit.repeat(6_100 / unit.len()));
            let mut steps = 0;
            assert!(!Glob::compile(&pattern).matches_counting(&text, &mut steps), "{unit}");
            assert!(steps <= 10_000, "{unit}: {steps}");
        }
        // The worst there is: long segments with a `?`.
        let mut worst = 0;
        for length in [2, 10, 100, 1_000] {
            let pattern = format!("*{}?b*", "a".repeat(length));
            assert!(!Glob::compile(&pattern).matches_counting(&text, &mut worst));
        }
        assert!(worst <= 2_000 * (1 + 1 + 2 + 16), "{worst}");
    }

    #[test]
    fn long_segments_with_holes_are_found_where_they_are() {
        for length in [1, 63, 64, 65, 130] {
            let segment = "a".repeat(length);
            let pattern = format!("*{segment}?c*d");
            assert!(matches(&pattern, &format!("ba{segment}bcxd")), "{length}");
            assert!(matches(&pattern, &format!("{segment}acd")), "{length}");
            assert!(!matches(&pattern, &format!("b{segment}cxd")), "{length}");
        }
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_the_obvious_recursion(p in "[ab*?]{0,8}", t in "[ab]{0,8}") {
            fn slow(p: &[u8], t: &[u8]) -> bool {
                match (p.first(), t.first()) {
                    (None, None) => true,
                    (Some(b'*'), _) => {
                        slow(&p[1..], t) || (!t.is_empty() && slow(p, &t[1..]))
                    }
                    (Some(b'?'), Some(_)) => slow(&p[1..], &t[1..]),
                    (Some(a), Some(b)) if a == b => slow(&p[1..], &t[1..]),
                    _ => false,
                }
            }
            proptest::prop_assert_eq!(matches(&p, &t), slow(p.as_bytes(), t.as_bytes()));
        }
    }
}
