//! The part that all List operations share: filters, order, pages. Pure.

use kennel_wire::ServiceError;
use serde::Deserialize;

use crate::context::Timestamp;

/// The members that SageMaker's List operations have in common.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Filter {
    max_results: Option<usize>,
    next_token: Option<String>,
    name_contains: Option<String>,
    status_equals: Option<String>,
    creation_time_after: Option<f64>,
    creation_time_before: Option<f64>,
    last_modified_time_after: Option<f64>,
    last_modified_time_before: Option<f64>,
    sort_by: Option<String>,
    sort_order: Option<String>,
}

/// What a resource is to a list.
#[derive(Debug, Clone)]
pub(super) struct Item<T> {
    pub name: String,
    pub created: Timestamp,
    pub modified: Timestamp,
    pub status: String,
    pub row: T,
}

/// A page, and the token of the next one.
pub(super) type Page<T> = (Vec<Item<T>>, Option<String>);

/// SageMaker's default and largest page.
const PAGE: usize = 100;

/// One page of the items that pass. `sort_by` is the service's default where the caller gives none;
/// the default order is descending, as SageMaker's is for most lists.
pub(super) fn page<T>(
    filter: &Filter,
    mut items: Vec<Item<T>>,
    ascending: bool,
) -> Result<Page<T>, ServiceError> {
    match filter.sort_by.as_deref() {
        Some("Name") => items.sort_by(|a, b| a.name.cmp(&b.name)),
        Some("Status") => {
            items.sort_by(|a, b| (&a.status, &a.name).cmp(&(&b.status, &b.name)));
        }
        _ => items.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name))),
    }
    paged(filter, items, ascending)
}

/// As [`page`], of items that the caller has put into ascending order.
pub(super) fn paged<T>(
    filter: &Filter,
    items: Vec<Item<T>>,
    ascending: bool,
) -> Result<Page<T>, ServiceError> {
    let after = |bound: Option<f64>, t: Timestamp| bound.is_none_or(|b| t.seconds() > b);
    let before = |bound: Option<f64>, t: Timestamp| bound.is_none_or(|b| t.seconds() < b);
    let mut items: Vec<Item<T>> = items
        .into_iter()
        .filter(|i| filter.name_contains.as_deref().is_none_or(|part| i.name.contains(part)))
        .filter(|i| filter.status_equals.as_deref().is_none_or(|status| i.status == status))
        .filter(|i| after(filter.creation_time_after, i.created))
        .filter(|i| before(filter.creation_time_before, i.created))
        .filter(|i| after(filter.last_modified_time_after, i.modified))
        .filter(|i| before(filter.last_modified_time_before, i.modified))
        .collect();
    let ascending = match filter.sort_order.as_deref() {
        Some("Ascending") => true,
        Some(_) => false,
        None => ascending,
    };
    if !ascending {
        items.reverse();
    }
    // The token names the last item of the page before, so that new resources shift nothing.
    let start = match &filter.next_token {
        None => 0,
        Some(last) => match items.iter().position(|i| i.name == *last) {
            Some(place) => place + 1,
            None => {
                return Err(ServiceError::validation(
                    "the `NextToken` is not valid any more\nhint: begin the list anew",
                ));
            }
        },
    };
    let size = filter.max_results.unwrap_or(PAGE).clamp(1, PAGE);
    let more = items.len().saturating_sub(start) > size;
    let shown: Vec<Item<T>> = items.into_iter().skip(start).take(size).collect();
    let token = if more { shown.last().map(|i| i.name.clone()) } else { None };
    Ok((shown, token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(n: i64) -> Vec<Item<()>> {
        (0..n)
            .map(|i| Item {
                name: format!("job-{i:03}"),
                created: Timestamp(i * 1000),
                modified: Timestamp(i * 1000),
                status: if i % 2 == 0 { "Completed" } else { "Failed" }.to_owned(),
                row: (),
            })
            .collect()
    }

    fn names(page: &Page<()>) -> Vec<&str> {
        page.0.iter().map(|i| i.name.as_str()).collect()
    }

    #[test]
    fn pages_cover_everything_once_newest_first() {
        let mut filter = Filter { max_results: Some(3), ..Filter::default() };
        let mut seen = Vec::new();
        loop {
            let shown = page(&filter, items(8), false).unwrap();
            seen.extend(names(&shown).into_iter().map(str::to_owned));
            match shown.1 {
                Some(token) => filter.next_token = Some(token),
                None => break,
            }
        }
        assert_eq!(seen.len(), 8);
        assert_eq!(seen[0], "job-007");
        assert_eq!(seen[7], "job-000");
    }

    #[test]
    fn filters_are_strict_bounds() {
        let filter = Filter {
            status_equals: Some("Failed".to_owned()),
            creation_time_after: Some(1.0),
            creation_time_before: Some(7.0),
            sort_by: Some("Name".to_owned()),
            sort_order: Some("Ascending".to_owned()),
            ..Filter::default()
        };
        let shown = page(&filter, items(8), false).unwrap();
        assert_eq!(names(&shown), ["job-003", "job-005"]);
    }

    #[test]
    fn a_token_of_nothing_is_refused() {
        let filter = Filter { next_token: Some("gone".to_owned()), ..Filter::default() };
        assert!(page(&filter, items(2), false).is_err());
    }
}
