//! From sentences to lines that are not wider than they may be.

use super::font::{Font, encode};
use crate::document::{Piece, pieces};

/// One line: encoded letters in their fonts, all of one size.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    pub runs: Vec<(Font, Vec<u8>)>,
    pub size: f32,
}

impl Line {
    fn new(size: f32) -> Line {
        Line { runs: Vec::new(), size }
    }

    pub(super) fn width(&self) -> f32 {
        self.runs.iter().map(|(font, bytes)| font.width(bytes, self.size)).sum()
    }

    fn add(&mut self, font: Font, bytes: &[u8]) {
        match self.runs.last_mut() {
            Some((last, run)) if *last == font => run.extend_from_slice(bytes),
            _ => self.runs.push((font, bytes.to_vec())),
        }
    }
}

/// A sentence, with what stands in backticks as code, in lines at most so wide; never none.
pub(super) fn lines(text: &str, font: Font, size: f32, wide: f32) -> Vec<Line> {
    wrapped(&fonts(text, font), size, wide)
}

/// A paragraph that begins in bold.
pub(super) fn led(lead: &str, text: &str, size: f32, wide: f32) -> Vec<Line> {
    let mut all = Vec::new();
    if !lead.is_empty() {
        all.push((Font::Bold, encode(lead)));
        all.push((Font::Regular, b" ".to_vec()));
    }
    all.extend(fonts(text, Font::Regular));
    wrapped(&all, size, wide)
}

/// The width that a sentence has on one line, and that of its widest word.
pub(super) fn measure(text: &str, font: Font, size: f32) -> (f32, f32) {
    let whole = lines(text, font, size, f32::MAX).iter().map(Line::width).fold(0.0, f32::max);
    let words = words(&fonts(text, font));
    let word = |word: &Word| word.iter().map(|(font, bytes)| font.width(bytes, size)).sum::<f32>();
    (whole, words.iter().map(word).fold(0.0, f32::max))
}

/// Letters of fixed width, broken wherever the line is full.
pub(super) fn broken(text: &str, size: f32, wide: f32) -> Vec<Line> {
    let bytes = encode(text);
    let each = ((wide / Font::Mono.width(b"0", size)) as usize).max(1);
    if bytes.is_empty() {
        return vec![Line::new(size)];
    }
    bytes.chunks(each).map(|part| Line { runs: vec![(Font::Mono, part.to_vec())], size }).collect()
}

fn fonts(text: &str, font: Font) -> Vec<(Font, Vec<u8>)> {
    let one = |piece: Piece<'_>| match piece {
        Piece::Plain(words) => (font, encode(words)),
        Piece::Code(words) => (Font::Mono, encode(words)),
    };
    pieces(text).into_iter().map(one).collect()
}

/// What no line break parts; its letters may be in several fonts.
type Word = Vec<(Font, Vec<u8>)>;

/// Words, with the space that follows each in its own font.
fn words(runs: &[(Font, Vec<u8>)]) -> Vec<Word> {
    let mut all = Vec::new();
    let mut word = Word::new();
    for (font, bytes) in runs {
        for (index, part) in bytes.split(|byte| *byte == b' ').enumerate() {
            if index > 0 && !word.is_empty() {
                all.push(std::mem::take(&mut word));
            }
            if !part.is_empty() {
                word.push((*font, part.to_vec()));
            }
        }
    }
    if !word.is_empty() {
        all.push(word);
    }
    all
}

fn wrapped(runs: &[(Font, Vec<u8>)], size: f32, wide: f32) -> Vec<Line> {
    let mut all = Vec::new();
    let mut line = Line::new(size);
    for word in words(runs) {
        let width: f32 = word.iter().map(|(font, bytes)| font.width(bytes, size)).sum();
        // Between words of one font the space is that font's.
        let same = |last: Font| word.first().is_some_and(|(first, _)| *first == last);
        let between =
            line.runs.last().map(|(last, _)| if same(*last) { *last } else { Font::Regular });
        if let Some(font) = between {
            // A column is as wide as its widest line, computed in another order.
            if line.width() + font.width(b" ", size) + width > wide + 0.01 {
                all.push(std::mem::replace(&mut line, Line::new(size)));
            } else {
                line.add(font, b" ");
            }
        }
        for (font, bytes) in word {
            // A word alone may be wider than the line: an ARN, a number of a hundred digits.
            for byte in bytes {
                if !line.runs.is_empty() && line.width() + font.width(&[byte], size) > wide + 0.01 {
                    all.push(std::mem::replace(&mut line, Line::new(size)));
                }
                line.add(font, &[byte]);
            }
        }
    }
    if !line.runs.is_empty() || all.is_empty() {
        all.push(line);
    }
    all
}
