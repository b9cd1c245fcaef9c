//! The marked block in `~/.aws/config`: put in, replaced and taken out so that every other byte of
//! the file stays as it was.

const BEGIN: &[u8] = b"# >>> kennel";
const END: &[u8] = b"# <<< kennel";
/// Stands after [`BEGIN`] when the file did not end with a line break and got one.
const BREAK_ADDED: &[u8] = b" (line break added)";

/// Where a file's block is.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    /// First byte to take out.
    start: usize,
    /// After the last.
    end: usize,
}

/// Lines with their positions; the line break is part of a line's extent but not of its text.
fn lines(file: &[u8]) -> impl Iterator<Item = (usize, usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = file.get(at..).filter(|r| !r.is_empty())?;
        let length = rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |p| p + 1);
        let (start, end) = (at, at + length);
        at = end;
        let text = file[start..end].trim_ascii_end();
        Some((start, end, text))
    })
}

fn is_begin(line: &[u8]) -> bool {
    line.strip_prefix(BEGIN).is_some_and(|rest| rest.is_empty() || rest == BREAK_ADDED)
}

fn find(file: &[u8]) -> Result<Option<Found>, &'static str> {
    let mut start = None;
    for (from, to, text) in lines(file) {
        if is_begin(text) {
            if start.is_some() {
                return Err("its block `# >>> kennel` begins twice");
            }
            let added = text.len() > BEGIN.len() && from > 0;
            start = Some((from, added));
        } else if text == END {
            return match start {
                // What was written after the block needs the line break before it.
                Some((start, added)) if to < file.len() || !added => {
                    Ok(Some(Found { start, end: to }))
                }
                Some((start, _)) => Ok(Some(Found { start: start - 1, end: to })),
                None => Err("its block `# <<< kennel` ends without a beginning"),
            };
        }
    }
    match start {
        Some(_) => Err("its block `# >>> kennel` has no end"),
        None => Ok(None),
    }
}

/// The file without the block.
pub(crate) fn without(file: &[u8]) -> Result<Vec<u8>, &'static str> {
    Ok(match find(file)? {
        Some(found) => [&file[..found.start], &file[found.end..]].concat(),
        None => file.to_vec(),
    })
}

/// The file with the block, at its end; an earlier block is replaced.
pub(crate) fn with(file: &[u8], content: &str) -> Result<Vec<u8>, &'static str> {
    let mut file = without(file)?;
    let add_break = file.last().is_some_and(|b| *b != b'\n');
    if add_break {
        file.push(b'\n');
    }
    file.extend_from_slice(BEGIN);
    if add_break {
        file.extend_from_slice(BREAK_ADDED);
    }
    file.push(b'\n');
    file.extend_from_slice(content.as_bytes());
    file.extend_from_slice(END);
    file.push(b'\n');
    Ok(file)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONTENT: &str = "[profile kennel]\nregion = us-east-1\n";

    #[test]
    fn the_block_reads_well() {
        let file = with(b"[default]\nregion = x\n", CONTENT).unwrap();
        assert_eq!(
            String::from_utf8(file).unwrap(),
            "[default]\nregion = x\n# >>> kennel\n[profile kennel]\nregion = us-east-1\n# <<< kennel\n"
        );
    }

    #[test]
    fn what_was_written_after_the_block_stays() {
        let mut file = with(b"[a]\nx=1", CONTENT).unwrap();
        file.extend_from_slice(b"[late]\r\ny=2");
        assert_eq!(without(&file).unwrap(), b"[a]\nx=1\n[late]\r\ny=2".to_vec());
        let mut file = with(b"[a]\n", CONTENT).unwrap();
        file.extend_from_slice(b"[late]\r\ny=2");
        assert_eq!(without(&file).unwrap(), b"[a]\n[late]\r\ny=2".to_vec());
    }

    #[test]
    fn damaged_blocks_are_left_alone() {
        for bad in
            ["# >>> kennel\n", "# <<< kennel\n", "# >>> kennel\n# >>> kennel\n# <<< kennel\n"]
        {
            assert!(without(bad.as_bytes()).is_err(), "{bad}");
            assert!(with(bad.as_bytes(), CONTENT).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_other_byte_stays(file in proptest::collection::vec(
            prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'#'), Just(b'['), Just(b' '), any::<u8>()], 0..200)
        ) {
            prop_assume!(find(&file) == Ok(None));
            let once = with(&file, CONTENT).unwrap();
            prop_assert_eq!(&once[..file.len()], &file[..]);
            let twice = with(&once, "[profile kennel]\nregion = other\n").unwrap();
            prop_assert_eq!(without(&twice).unwrap(), file.clone());
            prop_assert_eq!(without(&once).unwrap(), file);
        }
    }
}
