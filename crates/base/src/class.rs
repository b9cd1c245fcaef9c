//! Names of classes. The folder name is the key of a class everywhere; what people read is shorter.

/// What a class folder is shown as: `001.Affenpinscher` is `Affenpinscher`, underscores become
/// spaces. A name that would become empty is shown as it is.
pub fn display_name(folder: &str) -> String {
    let stripped = match folder.split_once('.') {
        Some((number, rest))
            if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) =>
        {
            rest
        }
        _ => folder,
    };
    let shown = stripped.replace('_', " ");
    let shown = shown.trim();
    if shown.is_empty() { folder.to_owned() } else { shown.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::display_name;
    use proptest::prelude::*;

    #[test]
    fn numbered_folders_lose_their_number() {
        assert_eq!(display_name("001.Affenpinscher"), "Affenpinscher");
        assert_eq!(display_name("042.Cairn_terrier"), "Cairn terrier");
        assert_eq!(display_name("St.Bernard"), "St.Bernard");
        assert_eq!(display_name("7."), "7.");
        assert_eq!(display_name(".hidden"), ".hidden");
    }

    proptest! {
        #[test]
        fn never_empty(name in ".{1,40}") {
            prop_assert!(!display_name(&name).is_empty());
        }
    }
}
