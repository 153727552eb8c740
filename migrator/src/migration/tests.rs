use super::*;

#[test]
fn directions_have_flags_and_opposites() {
    for (direction, flag, word) in [
        (Direction::Forward, "--forward", "forward"),
        (Direction::Backward, "--backward", "backward"),
    ] {
        assert_eq!(direction.flag(), flag);
        assert_eq!(direction.to_string(), word);
        assert_eq!(direction.opposite().opposite(), direction);
        assert_ne!(direction.opposite(), direction);
    }
}
