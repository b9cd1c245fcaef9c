use super::*;
use proptest::prelude::*;

#[test]
fn sagemaker_names_are_understood() -> Result<(), HyperparameterError> {
    let mut options = TrainOptions::default();
    options.set("mini_batch_size", "32")?;
    options.set("learning-rate", "0.01")?;
    options.set("lr", "0.02")?;
    options.set("early_stopping", "true")?;
    options.set("optimizer", "sgd")?;
    options.set("head", "mlp:128")?;
    assert_eq!(options.batch_size, 32);
    assert_eq!(options.learning_rate, 0.02);
    assert_eq!(options.early_stopping, 5);
    assert_eq!(options.optimizer, OptimizerKind::Sgd);
    assert_eq!(options.head, HeadKind::Mlp(128));
    Ok(())
}

#[test]
fn bad_values_say_what_would_be_accepted() {
    let mut options = TrainOptions::default();
    let message = options.set("epochs", "0").unwrap_err().to_string();
    assert!(message.contains("`epochs` cannot be `0`"), "{message}");
    assert!(message.contains("hint:"), "{message}");
    assert!(options.set("learning_rate", "NaN").is_err());
    assert!(options.set("head", "mlp:0").is_err());
    let message = options.set("lerning_rate", "1").unwrap_err().to_string();
    assert!(message.contains("known ones are"), "{message}");
    assert_eq!(options, TrainOptions::default(), "a refused value changes nothing");
}

#[test]
fn what_is_left_open_is_chosen_by_the_data() {
    let open = TrainOptions::default();
    assert_eq!(open.resolve(6_000, true).epochs, 16);
    assert_eq!(open.resolve(320, false).epochs, 100);
    assert_eq!(open.resolve(1_000_000, false).epochs, 15);
    assert_eq!(open.resolve(320, true).learning_rate, 0.0005);
    assert_eq!(open.resolve(320, false).learning_rate, 0.002);
    let given = TrainOptions { epochs: 3, learning_rate: 0.1, ..open };
    assert_eq!(given.resolve(320, true), given);
}

proptest! {
    #[test]
    fn no_text_panics(name in "[a-z_-]{1,20}|head|epochs|seed|lr|dropout", value in ".{0,20}") {
        let _ = TrainOptions::default().set(&name, &value);
    }

    #[test]
    fn words_round_trip(hidden in 1usize..16_384) {
        let head = HeadKind::Mlp(hidden);
        prop_assert_eq!(head.to_string().parse::<HeadKind>(), Ok(head));
    }
}
