//! Lists from outside, refused while they are read as soon as they grow past a bound.

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// Reads a sequence of at most `MAX` elements; for `#[serde(deserialize_with = "...")]`.
///
/// Element `MAX + 1` ends the reading, so a longer list costs no more than one of `MAX` elements,
/// and the error carries the place in the text where the list became too long.
pub(crate) fn list<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct ListVisitor<T, const MAX: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for ListVisitor<T, MAX> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MAX} elements")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            // The size hint is the other side's word: not used to allocate.
            let mut list = Vec::new();
            while let Some(element) = seq.next_element()? {
                if list.len() == MAX {
                    return Err(A::Error::custom(format_args!(
                        "more than {MAX} elements in one list"
                    )));
                }
                list.push(element);
            }
            Ok(list)
        }
    }

    deserializer.deserialize_seq(ListVisitor::<T, MAX>(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::list;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(transparent)]
    struct AtMostThree(#[serde(deserialize_with = "list::<_, _, 3>")] Vec<u8>);

    fn read(json: &str) -> Result<Vec<u8>, String> {
        serde_json::from_str(json)
            .map(|AtMostThree(list)| list)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_list_up_to_the_bound_is_read() {
        assert_eq!(read("[]"), Ok(vec![]));
        assert_eq!(read("[1, 2, 3]"), Ok(vec![1, 2, 3]));
    }

    #[test]
    fn one_element_past_the_bound_is_refused_where_it_stands() {
        let error = read("[1, 2, 3, 4]").unwrap_err();
        assert_eq!(
            error,
            "more than 3 elements in one list at line 1 column 12"
        );
    }
}
