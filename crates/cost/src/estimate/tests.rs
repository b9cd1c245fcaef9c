use proptest::prelude::*;

use super::*;

fn catalogue() -> Catalogue {
    Catalogue::built_in()
}

fn near(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-9 * b.abs().max(1.0), "{a} is not {b}");
}

#[test]
fn a_job_is_billed_by_the_second_for_each_instance() {
    let amount = training(&catalogue(), "ml.m5.xlarge", 2, 96, false, "us-east-1").unwrap();
    near(amount.dollars, 0.23 * 2.0 * 96.0 / 3600.0);
    assert!(amount.verified);
    let of = |region, spot| {
        let job =
            Training { instance_type: "ml.m5.xlarge", count: 2, billable_s: 96, spot, region };
        sentence(&catalogue(), &job)
    };
    assert_eq!(
        of("us-east-1", false),
        "96 billable seconds at ml.m5.xlarge × 2: $0.0123 (us-east-1, prices of 2026-09-24)"
    );
    assert!(of("us-east-1", true).contains("~$0.0049"));
    assert_eq!(
        of("mars-1", false),
        "96 billable seconds at ml.m5.xlarge × 2: no price of it is known in mars-1"
    );
}

/// The worked example of AWS's Lambda pricing page: 3 million requests of 120 ms at 1,536 MB on x86 cost
/// 2.73 dollars with the free tier.
#[test]
fn a_function_costs_what_awss_example_says() {
    let of = Function {
        requests: 3e6,
        duration_ms: 120.0,
        memory_mb: 1536.0,
        architecture: Architecture::X86,
        provisioned: 0,
        provisioned_hours: 0.0,
        provisioned_share: 0.0,
        free_tier: true,
        region: "us-east-1",
    };
    let amount = function(&catalogue(), &of).unwrap();
    // 540,000 GB-s − 400,000 at $0.0000166667 are $2.33, 2 million requests $0.40.
    near((amount.dollars * 100.0).round() / 100.0, 2.73);
    let without = function(&catalogue(), &Function { free_tier: false, ..of }).unwrap();
    assert!(without.dollars > amount.dollars);
}

/// The other worked example: 1 GB, provisioned concurrency of 1,000 for two hours, 1.2 million requests of
/// one second: $30.00 + $11.67 + $0.24.
#[test]
fn provisioned_concurrency_costs_what_awss_example_says() {
    let of = Function {
        requests: 1.2e6,
        duration_ms: 1000.0,
        memory_mb: 1024.0,
        architecture: Architecture::X86,
        provisioned: 1000,
        provisioned_hours: 2.0,
        provisioned_share: 1.0,
        free_tier: true,
        region: "us-east-1",
    };
    let amount = function(&catalogue(), &of).unwrap();
    near((amount.dollars * 100.0).round() / 100.0, 41.91);
    // A minute is billed as five.
    let minute = Function { provisioned_hours: 1.0 / 60.0, requests: 0.0, ..of };
    let five = Function { provisioned_hours: 5.0 / 60.0, requests: 0.0, ..of };
    near(
        function(&catalogue(), &minute).unwrap().dollars,
        function(&catalogue(), &five).unwrap().dollars,
    );
}

#[test]
fn endpoints_tunings_and_storage_add_up() {
    let of = Endpoint {
        instance_type: "ml.m5.large",
        average_instances: 1.5,
        hours: 730.0,
        data_gb: 10.0,
        region: "us-east-1",
    };
    let amount = endpoint(&catalogue(), &of).unwrap();
    near(amount.dollars, 0.115 * 1.5 * 730.0 + 0.16);
    assert_eq!(amount.items.len(), 2);
    let trials = [30, 40, 50];
    let job = Tuning {
        instance_type: "ml.m5.xlarge",
        count: 1,
        trials: &trials,
        spot: false,
        region: "us-east-1",
    };
    near(tuning(&catalogue(), &job).unwrap().dollars, 0.23 * 120.0 / 3600.0);
    let of = Storage { gb: 10.0, months: 1.0, puts: 1000.0, gets: 10_000.0, region: "us-east-1" };
    near(storage(&catalogue(), &of).unwrap().dollars, 0.23 + 0.005 + 0.004);
}

#[test]
fn ec2_bills_a_minute_at_least_and_nonsense_is_refused() {
    let catalogue = catalogue();
    let of = |seconds| instances(&catalogue, Usage::Ec2, "g4dn.xlarge", 1.0, seconds, "us-east-1");
    near(of(1.0).unwrap().dollars, 0.526 / 60.0);
    near(of(61.0).unwrap().dollars, 0.526 * 61.0 / 3600.0);
    near(of(0.0).unwrap().dollars, 0.0);
    for wrong in [f64::NAN, f64::INFINITY, -1.0] {
        assert!(matches!(of(wrong), Err(CostError::Number { .. })));
    }
}

proptest! {
    #[test]
    fn more_time_or_more_instances_never_cost_less(
        which in 0_usize..200,
        seconds in 0_u64..10_000_000,
        more in 0_u64..100_000,
        count in 1_u32..100,
    ) {
        let catalogue = catalogue();
        let types = catalogue.types(Usage::Training);
        let name = &types[which % types.len()].name;
        let of = |count, seconds| {
            training(&catalogue, name, count, seconds, false, "us-east-1").unwrap().dollars
        };
        let base = of(count, seconds);
        prop_assert!(base >= 0.0);
        prop_assert!(of(count, seconds + more) >= base);
        prop_assert!(of(count + 1, seconds) >= base);
        // A second is the unit: nothing is rounded to hours.
        prop_assert!((of(count, seconds + 1) - base) * 3600.0 <= of(count, 3600) * 1.000_001);
    }

    #[test]
    fn a_function_costs_more_with_more_of_anything(
        requests in 0.0_f64..1e9,
        duration in 0.0_f64..900_000.0,
        memory in 128.0_f64..10_240.0,
        provisioned in 0_u32..1000,
        hours in 0.0_f64..1000.0,
    ) {
        let catalogue = catalogue();
        let of = Function {
            requests, duration_ms: duration, memory_mb: memory, architecture: Architecture::X86,
            provisioned, provisioned_hours: hours, provisioned_share: 1.0, free_tier: false,
            region: "us-east-1",
        };
        let cost = |of: &Function<'_>| function(&catalogue, of).unwrap().dollars;
        let base = cost(&of);
        let more = Function { requests: requests + 1.0, ..of };
        prop_assert!(cost(&more) >= base);
        let longer = Function { duration_ms: duration + 1.0, ..of };
        prop_assert!(cost(&longer) >= base);
        let on_longer = Function { provisioned_hours: hours + 1.0, ..of };
        prop_assert!(cost(&on_longer) >= base);
        let arm = Function { architecture: Architecture::Arm, ..of };
        prop_assert!(cost(&arm) <= base);
    }
}
