//! Tests of `concurrency`: AWS's examples and refusals. The property tests are in `model`.

use super::*;

mod model;

const NOW: i64 = 1_000_000;

fn ledger() -> Ledger {
    Ledger::new(Limits::default())
}

/// A ledger where neither request rate nor growth get in the way.
fn patient(account: u32) -> Ledger {
    Ledger::new(Limits { account, growth: 1_000_000, rate_factor: 1_000, ..Limits::default() })
}

/// Puts a configuration and makes all of it ready.
fn provision(ledger: &mut Ledger, function: &str, version: &str, count: u32) {
    ledger.set_provisioned(function, version, version, count).unwrap();
    ledger.set_allocated(function, version, count);
}

/// What became of some calls.
#[derive(Debug, Default)]
struct Calls {
    provisioned: Vec<Ticket>,
    on_demand: Vec<Ticket>,
    spilled_over: Vec<Ticket>,
    throttled: Vec<Reason>,
}

impl Calls {
    /// Provisioned, on demand without and with spill-over, throttled.
    fn counts(&self) -> [usize; 4] {
        [
            self.provisioned.len(),
            self.on_demand.len(),
            self.spilled_over.len(),
            self.throttled.len(),
        ]
    }

    fn release(self, ledger: &mut Ledger) {
        for ticket in self.provisioned.into_iter().chain(self.on_demand).chain(self.spilled_over) {
            ledger.release(ticket);
        }
    }
}

/// `count` calls at once, none with an idle environment on demand.
fn call(ledger: &mut Ledger, now_ms: i64, function: &str, version: &str, count: usize) -> Calls {
    let mut calls = Calls::default();
    for _ in 0..count {
        match ledger.admit(now_ms, function, version, false) {
            Ok(ticket) => match ticket.kind {
                Kind::Provisioned { .. } => calls.provisioned.push(ticket),
                Kind::OnDemand { spillover: false } => calls.on_demand.push(ticket),
                Kind::OnDemand { spillover: true } => calls.spilled_over.push(ticket),
            },
            Err(throttle) => {
                assert_eq!(throttle.message, "Rate Exceeded.");
                calls.throttled.push(throttle.reason);
            }
        }
    }
    calls
}

#[test]
fn provisioned_2_reserved_4_and_10_concurrent_calls() {
    let mut ledger = ledger();
    ledger.set_reserved("f", Some(4)).unwrap();
    ledger.set_provisioned("f", "live", "1", 2).unwrap();
    ledger.set_allocated("f", "live", 2);
    let calls = call(&mut ledger, NOW, "f", "1", 10);
    assert_eq!(calls.counts(), [2, 0, 2, 6]);
    assert_eq!(calls.throttled, [Reason::ReservedFunctionConcurrentInvocationLimitExceeded; 6]);
    let kind = Kind::Provisioned { qualifier: "live".to_owned() };
    assert!(calls.provisioned.iter().all(|ticket| ticket.kind == kind));
    assert_eq!((ledger.running("f"), ledger.provisioned_in_use("f", "live")), (4, 2));
    calls.release(&mut ledger);
    assert_eq!((ledger.account_running(), ledger.provisioned_in_use("f", "live")), (0, 0));
    assert_eq!(call(&mut ledger, NOW + 500, "f", "1", 10).counts(), [2, 0, 2, 6]);
}

/// The diagram "Function scaling behavior when you configure reserved concurrency on critical functions".
#[test]
fn aws_example_of_reserved_concurrency() {
    let mut ledger = patient(1_000);
    ledger.set_reserved("blue", Some(400)).unwrap();
    ledger.set_reserved("orange", Some(400)).unwrap();
    assert_eq!(ledger.unreserved(), 200);
    let others = call(&mut ledger, NOW, "other", "1", 150);
    assert_eq!(others.counts(), [0, 150, 0, 0]);
    // t3: orange may not use what is free elsewhere.
    let orange = call(&mut ledger, NOW, "orange", "1", 450);
    assert_eq!(orange.counts(), [0, 400, 0, 50]);
    assert_eq!(orange.throttled[0], Reason::ReservedFunctionConcurrentInvocationLimitExceeded);
    // t4: orange is idle, and the others may not use it.
    orange.release(&mut ledger);
    let spike = call(&mut ledger, NOW, "another", "1", 100);
    assert_eq!(spike.counts(), [0, 50, 0, 50]);
    assert_eq!(spike.throttled[0], Reason::ConcurrentInvocationLimitExceeded);
    assert_eq!((ledger.unreserved_running(), ledger.account_running()), (200, 200));
    // t5.
    spike.release(&mut ledger);
    assert_eq!(call(&mut ledger, NOW, "other", "1", 50).counts(), [0, 50, 0, 0]);
    assert_eq!(call(&mut ledger, NOW, "blue", "1", 400).counts(), [0, 400, 0, 0]);
}

/// The diagram "Function scaling behavior when you configure provisioned concurrency on a critical function".
#[test]
fn aws_example_of_provisioned_concurrency() {
    let mut ledger = patient(1_000);
    provision(&mut ledger, "orange", "1", 400);
    assert_eq!(ledger.unreserved(), 600);
    let t2 = call(&mut ledger, NOW, "orange", "1", 450);
    assert_eq!(t2.counts(), [400, 0, 50, 0]);
    let t4 = call(&mut ledger, NOW, "other", "$LATEST", 500);
    assert_eq!(t4.counts(), [0, 500, 0, 0]);
    let t5 = call(&mut ledger, NOW, "orange", "1", 60);
    assert_eq!(t5.counts(), [0, 0, 50, 10]);
    assert_eq!(t5.throttled[0], Reason::ConcurrentInvocationLimitExceeded);
    assert_eq!(ledger.account_running(), 1_000);
    // Idle provisioned environments are nobody else's.
    t2.release(&mut ledger);
    assert_eq!(call(&mut ledger, NOW, "other", "$LATEST", 60).counts(), [0, 50, 0, 10]);
}

/// The diagram "Function scaling behavior when you use both reserved and provisioned concurrency".
#[test]
fn aws_example_of_both() {
    let mut ledger = patient(1_000);
    ledger.set_reserved("orange", Some(400)).unwrap();
    provision(&mut ledger, "orange", "1", 200);
    assert_eq!(ledger.unreserved(), 600);
    let t3 = call(&mut ledger, NOW, "orange", "1", 500);
    assert_eq!(t3.counts(), [200, 0, 200, 100]);
    assert_eq!(t3.throttled[0], Reason::ReservedFunctionConcurrentInvocationLimitExceeded);
    t3.release(&mut ledger);
    assert_eq!(call(&mut ledger, NOW, "orange", "1", 200).counts(), [200, 0, 0, 0]);
}

/// "This configuration also has the effect of throttling the unpublished version of the function."
#[test]
fn provisioned_that_adds_up_to_reserved_throttles_the_other_versions() {
    let mut ledger = ledger();
    ledger.set_reserved("f", Some(5)).unwrap();
    provision(&mut ledger, "f", "1", 3);
    provision(&mut ledger, "f", "2", 2);
    for version in [LATEST, "3"] {
        let calls = call(&mut ledger, NOW, "f", version, 1);
        assert_eq!(calls.throttled, [Reason::ReservedFunctionConcurrentInvocationLimitExceeded]);
    }
    assert_eq!(call(&mut ledger, NOW, "f", "1", 4).counts(), [3, 0, 0, 1]);
    assert_eq!(call(&mut ledger, NOW, "f", "2", 3).counts(), [2, 0, 0, 1]);
}

#[test]
fn reserved_0_throttles_everything() {
    let mut ledger = ledger();
    ledger.set_reserved("f", Some(0)).unwrap();
    let throttle = ledger.admit(NOW, "f", LATEST, true).unwrap_err();
    assert_eq!(throttle.reason, Reason::ReservedFunctionConcurrentInvocationLimitExceeded);
    assert!(ledger.admit_asynchronous(NOW, "f", LATEST, true).is_err());
    ledger.set_reserved("f", None).unwrap();
    assert_eq!(call(&mut ledger, NOW, "f", LATEST, 1).counts(), [0, 1, 0, 0]);
}

#[test]
fn a_function_that_is_switched_off_keeps_what_it_has_provisioned() {
    let mut ledger = ledger();
    ledger.set_provisioned("f", "1", "1", 2).unwrap();
    ledger.set_allocated("f", "1", 2);
    let before = ledger.unreserved();
    ledger.set_reserved("f", Some(0)).unwrap();
    assert_eq!(ledger.unreserved(), before, "the environments are still there");
    let throttle = ledger.admit(NOW, "f", "1", false).unwrap_err();
    assert_eq!(throttle.reason, Reason::ReservedFunctionConcurrentInvocationLimitExceeded);
    // As rows are read again after a restart.
    ledger.set_provisioned("f", "1", "1", 2).unwrap();
    ledger.set_reserved("f", None).unwrap();
    assert_eq!(call(&mut ledger, NOW, "f", "1", 1).counts(), [1, 0, 0, 0]);
}

/// "If you request 5,000 provisioned concurrency, none of your requests can use provisioned concurrency until
/// Lambda completely finishes allocating the 5,000 execution environments."
#[test]
fn nothing_is_ready_before_everything_is() {
    let mut ledger = patient(10_000);
    ledger.set_provisioned("f", "1", "1", 5_000).unwrap();
    assert_eq!(ledger.unreserved(), 5_000, "it is taken at once");
    ledger.set_allocated("f", "1", 4_999);
    let calls = call(&mut ledger, NOW, "f", "1", 1);
    assert_eq!(calls.counts(), [0, 1, 0, 0], "nothing to spill over from");
    ledger.set_allocated("f", "1", 5_000);
    assert_eq!(call(&mut ledger, NOW, "f", "1", 1).counts(), [1, 0, 0, 0]);
    // More are asked for: those that were ready stay so. One dies: it is missed at once.
    ledger.set_provisioned("f", "1", "1", 6_000).unwrap();
    ledger.set_allocated("f", "1", 5_500);
    assert_eq!(ledger.provisioned("f", "1").unwrap().ready, 5_000);
    ledger.set_allocated("f", "1", 4_000);
    assert_eq!(ledger.provisioned("f", "1").unwrap().ready, 4_000);
    // Fewer are asked for than there are.
    ledger.set_provisioned("f", "1", "1", 7).unwrap();
    let state = ledger.provisioned_for("f", "1").unwrap();
    assert_eq!((state.requested, state.allocated, state.ready, state.in_use), (7, 4_000, 7, 1));
}

#[test]
fn environments_belong_to_the_version_however_it_is_called() {
    let mut ledger = ledger();
    ledger.set_provisioned("f", "live", "3", 1).unwrap();
    ledger.set_allocated("f", "live", 1);
    assert_eq!(ledger.provisioned_for("f", "3").unwrap().qualifier, "live");
    assert_eq!(call(&mut ledger, NOW, "f", "2", 1).counts(), [0, 1, 0, 0]);
    let three = call(&mut ledger, NOW, "f", "3", 1);
    assert_eq!(three.counts(), [1, 0, 0, 0]);

    // The alias moves on while a call runs.
    ledger.set_provisioned("f", "live", "4", 1).unwrap();
    assert_eq!((ledger.provisioned_in_use("f", "live"), ledger.running("f")), (0, 2));
    assert_eq!(call(&mut ledger, NOW, "f", "4", 1).counts(), [0, 1, 0, 0]);
    ledger.set_allocated("f", "live", 1);
    let four = call(&mut ledger, NOW, "f", "4", 1);
    assert_eq!(four.counts(), [1, 0, 0, 0]);
    three.release(&mut ledger);
    assert_eq!((ledger.provisioned_in_use("f", "live"), ledger.running("f")), (1, 3));
    ledger.remove_provisioned("f", "live");
    assert_eq!((ledger.unreserved(), ledger.running("f")), (1_000, 3));
    four.release(&mut ledger);
    assert_eq!((ledger.provisioned("f", "live"), ledger.running("f")), (None, 2));
}

/// "Functions in your account can handle a maximum of 10,000 requests per second."
#[test]
fn aws_example_of_the_account_s_request_rate() {
    let mut ledger = ledger();
    let mut admitted = 0;
    // Requests of no duration, 20 each millisecond: 20,000 a second for 4 s.
    for millisecond in 0..4_000 {
        for _ in 0..20 {
            match ledger.admit(NOW + millisecond, "f", LATEST, true) {
                Ok(ticket) => {
                    admitted += 1;
                    ledger.release(ticket);
                }
                Err(throttle) => {
                    assert_eq!(throttle.reason, Reason::FunctionInvocationRateLimitExceeded)
                }
            }
        }
    }
    // 10,000 that the bucket held, and 10 in each of the 3,999 milliseconds from the first call to the last.
    assert_eq!(admitted, 10_000 + 39_990);
    assert!(ledger.admit(NOW + 3_999, "g", LATEST, true).is_err(), "the pool's rate is shared");
    assert!(
        ledger.admit_asynchronous(NOW + 3_999, "g", LATEST, true).is_ok(),
        "events have no rate"
    );
}

/// "This function spills over into on-demand concurrency after 10 concurrency or 100 requests per second,
/// whichever happens first."
#[test]
fn aws_example_of_the_provisioned_request_rate() {
    let mut ledger = ledger();
    provision(&mut ledger, "f", "1", 10);
    let concurrent = call(&mut ledger, NOW, "f", "1", 11);
    assert_eq!(concurrent.counts(), [10, 0, 1, 0]);
    concurrent.release(&mut ledger);
    let mut kinds = [0, 0];
    for _ in 0..200 {
        let calls = call(&mut ledger, NOW + 60_000, "f", "1", 1);
        kinds[0] += calls.provisioned.len();
        kinds[1] += calls.spilled_over.len();
        calls.release(&mut ledger);
    }
    assert_eq!(kinds, [100, 100]);
}

#[test]
fn the_request_rate_of_a_reservation_counts_all_its_calls() {
    let mut ledger = ledger();
    ledger.set_reserved("f", Some(2)).unwrap();
    provision(&mut ledger, "f", "1", 1);
    let mut kinds = [0; 3];
    for _ in 0..30 {
        let calls = call(&mut ledger, NOW, "f", "1", 1);
        kinds[0] += calls.provisioned.len();
        kinds[1] += calls.spilled_over.len();
        kinds[2] += calls.throttled.len();
        assert!(
            calls
                .throttled
                .iter()
                .all(|r| *r == Reason::ReservedFunctionInvocationRateLimitExceeded)
        );
        calls.release(&mut ledger);
    }
    assert_eq!(kinds, [10, 10, 10]);
    // 50 ms are one call of the reservation, and half a one of the configuration.
    assert_eq!(call(&mut ledger, NOW + 50, "f", "1", 2).counts(), [0, 0, 1, 1]);
}

/// "1,000 execution environment instances every 10 seconds", refilled continuously, for each function.
#[test]
fn growth_is_1_000_environments_in_10_s_for_each_function() {
    let mut ledger = Ledger::new(Limits { account: 5_000, ..Limits::default() });
    let first = call(&mut ledger, NOW, "f", "1", 1_100);
    assert_eq!(first.counts(), [0, 1_000, 0, 100]);
    assert_eq!(first.throttled[0], Reason::ConcurrentInvocationLimitExceeded);
    assert_eq!(call(&mut ledger, NOW, "g", "1", 1_100).counts(), [0, 1_000, 0, 100]);
    assert_eq!(call(&mut ledger, NOW + 1_000, "f", "1", 200).counts(), [0, 100, 0, 100]);
    // An idle environment is no growth, and a minute of rest does not add up.
    assert!(ledger.admit(NOW + 1_000, "f", "1", true).is_ok());
    assert_eq!(call(&mut ledger, NOW + 61_000, "f", "1", 1_100).counts(), [0, 1_000, 0, 100]);
}

#[test]
fn provisioned_environments_use_no_growth() {
    let mut ledger = Ledger::new(Limits { growth: 1, ..Limits::default() });
    provision(&mut ledger, "f", "1", 3);
    let calls = call(&mut ledger, NOW, "f", "1", 5);
    assert_eq!(calls.counts(), [3, 0, 1, 1]);
    assert_eq!(calls.throttled, [Reason::ConcurrentInvocationLimitExceeded]);
    // A throttled call takes nothing: no slot, and no token of the reservation's rate either.
    assert_eq!(ledger.running("f"), 4);
}

#[test]
fn what_runs_goes_on_when_a_setting_shrinks() {
    let mut ledger = patient(1_000);
    let pool = call(&mut ledger, NOW, "a", "1", 900);
    ledger.set_reserved("b", Some(500)).unwrap();
    assert_eq!((ledger.unreserved(), ledger.running("a")), (500, 900));
    assert_eq!(call(&mut ledger, NOW, "a", "1", 1).counts(), [0, 0, 0, 1]);
    // The account's limit holds although the reservation promises more.
    let b = call(&mut ledger, NOW, "b", "1", 500);
    assert_eq!(b.counts(), [0, 100, 0, 400]);
    assert_eq!(b.throttled[0], Reason::ConcurrentInvocationLimitExceeded);
    pool.release(&mut ledger);
    assert_eq!(call(&mut ledger, NOW, "b", "1", 500).counts(), [0, 400, 0, 100]);
    ledger.set_reserved("b", Some(10)).unwrap();
    b.release(&mut ledger);
    assert_eq!(ledger.running("b"), 400);
    assert_eq!(call(&mut ledger, NOW, "b", "1", 1).counts(), [0, 0, 0, 1]);
}

#[test]
fn calls_that_outlive_their_configuration_s_reduction_use_the_pool() {
    let mut ledger = patient(1_000);
    provision(&mut ledger, "f", "1", 80);
    let calls = call(&mut ledger, NOW, "f", "1", 80);
    assert_eq!(calls.counts(), [80, 0, 0, 0]);
    ledger.set_reserved("idle", Some(890)).unwrap_err();
    ledger.set_reserved("idle", Some(820)).unwrap();
    ledger.set_provisioned("f", "1", "1", 10).unwrap();
    // 170 are unreserved, and 70 of them are used by calls for which there is no configuration any more.
    assert_eq!((ledger.unreserved(), ledger.provisioned_in_use("f", "1")), (170, 80));
    assert_eq!(call(&mut ledger, NOW, "g", "1", 120).counts(), [0, 100, 0, 20]);
    calls.release(&mut ledger);
    assert_eq!(call(&mut ledger, NOW, "g", "1", 120).counts(), [0, 70, 0, 50]);
}

#[test]
fn a_provisioned_call_never_breaks_the_reservation() {
    let mut ledger = ledger();
    ledger.set_reserved("f", Some(4)).unwrap();
    let before = call(&mut ledger, NOW, "f", "1", 4);
    provision(&mut ledger, "f", "1", 2);
    assert_eq!(call(&mut ledger, NOW, "f", "1", 1).counts(), [0, 0, 0, 1]);
    before.release(&mut ledger);
    assert_eq!(call(&mut ledger, NOW, "f", "1", 5).counts(), [2, 0, 2, 1]);
}

#[test]
fn a_removed_function_is_forgotten_when_its_last_call_ends() {
    let mut ledger = ledger();
    ledger.set_reserved("f", Some(10)).unwrap();
    provision(&mut ledger, "f", "1", 4);
    let calls = call(&mut ledger, NOW, "f", "1", 6);
    ledger.remove_function("f");
    assert_eq!((ledger.unreserved(), ledger.running("f"), ledger.reserved("f")), (1_000, 6, None));
    calls.release(&mut ledger);
    assert!(ledger.functions.is_empty());
    assert_eq!(ledger.total, Share::default());
    ledger.remove_function("never was");
    ledger.remove_provisioned("never was", "1");
    ledger.set_allocated("never was", "1", 3);
    assert!(ledger.functions.is_empty());
}

#[test]
fn settings_that_aws_refuses_in_its_words() {
    let mut ledger = ledger();
    ledger.set_reserved("r", Some(10)).unwrap();
    provision(&mut ledger, "r", "1", 6);
    ledger.set_provisioned("r", "live", "2", 1).unwrap();
    let cases = [
        (
            ledger.set_reserved("f", Some(891)),
            "InvalidParameterValueException",
            "Specified ReservedConcurrentExecutions for function decreases account's \
             UnreservedConcurrentExecution below its minimum value of [100].",
        ),
        (
            ledger.set_reserved("r", Some(6)),
            "InvalidParameterValueException",
            " ReservedConcurrentExecutions  6 should not be lower than function's total provisioned \
             concurrency [7].",
        ),
        (
            ledger.set_provisioned("r", "live", "2", 5),
            "InvalidParameterValueException",
            "Requested Provisioned Concurrency should not be greater than the \
             reservedConcurrentExecution for function",
        ),
        (
            ledger.set_provisioned("f", "1", "1", 991),
            "InvalidParameterValueException",
            "Specified ConcurrentExecutions for function is greater than account's unreserved \
             concurrency [990].",
        ),
        (
            ledger.set_provisioned("f", "1", "1", 891),
            "InvalidParameterValueException",
            "Specified ConcurrentExecutions for function decreases account's \
             UnreservedConcurrentExecution below its minimum value of [100].",
        ),
        (
            ledger.set_provisioned("f", "live", LATEST, 1),
            "InvalidParameterValueException",
            "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
        ),
        (
            ledger.set_provisioned("f", "1", "1", 0),
            "ValidationException",
            "1 validation error detected: Value '0' at 'provisionedConcurrentExecutions' failed to \
             satisfy constraint: Member must have value greater than or equal to 1",
        ),
        (
            ledger.set_provisioned("r", "blue", "1", 1),
            "ResourceConflictException",
            "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned \
             version",
        ),
        (
            ledger.set_provisioned("r", "blue", "2", 1),
            "ResourceConflictException",
            "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned \
             version",
        ),
        (
            ledger.set_provisioned("r", "2", "2", 1),
            "ResourceConflictException",
            "Version is pointed by a Provisioned Concurrency alias",
        ),
    ];
    for (answer, code, message) in cases {
        let error = answer.unwrap_err();
        assert_eq!((error.aws_code(), error.to_string().as_str()), (code, message));
    }
    assert_eq!(
        (ledger.unreserved(), ledger.provisioned_total("r")),
        (990, 7),
        "nothing has changed"
    );
    // What is refused by one is allowed.
    ledger.set_reserved("f", Some(890)).unwrap();
    assert_eq!(ledger.unreserved(), 100);
    ledger.set_reserved("f", None).unwrap();
    ledger.set_provisioned("f", "1", "1", 890).unwrap();
    ledger.set_reserved("r", Some(7)).unwrap();
}

/// "If you increased your account concurrency limit to 2,000, then you can reserve up to 1,900 units."
#[test]
fn aws_example_of_what_can_be_reserved() {
    for (account, most) in [(1_000, 900), (2_000, 1_900)] {
        let mut ledger = Ledger::new(Limits { account, ..Limits::default() });
        assert!(ledger.set_reserved("f", Some(most + 1)).is_err());
        ledger.set_reserved("f", Some(most)).unwrap();
    }
    // An account that is too small from the start: nothing can be taken, but everything throttled.
    let mut ledger = Ledger::new(Limits { account: 10, ..Limits::default() });
    assert!(ledger.set_reserved("f", Some(1)).is_err());
    ledger.set_reserved("f", Some(0)).unwrap();
}
