//! IAM's wildcards: `*` is any run of characters, `?` exactly one.
//!
//! A pattern is compiled once into the segments between its stars. Matching takes the segments from left to
//! right, each at its first occurrence, and never goes back: time is bounded by the text's length times the
//! longest segment that holds a `?`, and is linear for the others.

/// Does `text` match `pattern`? Case-sensitive; callers fold both sides where IAM ignores case.
/// Time is bounded by the product of the lengths, whatever the pattern.
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
    Holes(Box<[Option<char>]>),
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
            None => Segment::Holes(run.into()),
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
            Segment::Holes(holes) => {
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
            Segment::Holes(holes) => {
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
            Segment::Holes(holes) => {
                let mut rest = text;
                // A text of fewer bytes than the segment has characters cannot hold it.
                while rest.len() >= holes.len() {
                    if let Some(after) = self.prefix(rest, steps) {
                        return Some(after);
                    }
                    let mut chars = rest.chars();
                    chars.next()?;
                    rest = chars.as_str();
                }
                None
            }
        }
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
        // The worst there is: a segment with a `?` is tried at each place.
        let mut worst = 0;
        for length in [2, 10, 100, 1_000] {
            let pattern = format!("*{}?b*", "a".repeat(length));
            assert!(!Glob::compile(&pattern).matches_counting(&text, &mut worst));
        }
        assert!(worst <= 1_300_000, "{worst}");
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
