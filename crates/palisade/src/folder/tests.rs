//! The data folder: made whole or not at all, and refused when it is not right.

use super::*;
use std::os::unix::fs::PermissionsExt;

fn fill(folder: &Folder) -> Result<(), FolderError> {
    write_private(&folder.master_key(), b"key").unwrap();
    make_private(&folder.role("custody")).unwrap();
    write_private(&folder.role("custody").join("root"), b"root").unwrap();
    Ok(())
}

fn made() -> (tempfile::TempDir, Folder) {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::at(place.path().join("data"));
    folder.create(fill).unwrap();
    (place, folder)
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<_> =
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_first_run_makes_it_whole_and_private() {
    let (place, folder) = made();
    assert_eq!(folder.inspect().unwrap(), State::Made);
    assert_eq!(fs::metadata(folder.path()).unwrap().mode() & 0o777, 0o700);
    assert_eq!(names(folder.path()), ["custody", "master.key", "run", "version"]);
    assert_eq!(names(place.path()), ["data"]);
}

#[test]
fn a_first_run_that_fails_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::at(place.path().join("data"));
    let result = folder.create(|staging| {
        fill(staging)?;
        Err(FolderError::Foreign("for the test".into()))
    });
    assert!(result.is_err());
    assert!(names(place.path()).is_empty());
    assert_eq!(folder.inspect().unwrap(), State::Empty);
}

#[test]
fn what_a_first_run_that_was_killed_left_goes_with_the_next_one() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::at(place.path().join("data"));
    let (killed, works) = (place.path().join(".data.new-1"), place.path().join(".data.new-2"));
    for staging in [&killed, &works] {
        make_private(staging).unwrap();
        fill(&Folder::at(staging)).unwrap();
    }
    make_private(&place.path().join(".data.new-ly")).unwrap();
    let _lock = work_in(&works).unwrap();
    folder.create(fill).unwrap();
    assert_eq!(names(place.path()), [".data.new-2", ".data.new-ly", "data"]);
}

#[test]
fn an_empty_folder_is_taken_over_with_its_configuration() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::at(place.path().join("data"));
    fs::create_dir(folder.path()).unwrap();
    fs::write(folder.configuration(), "https_port = 1").unwrap();
    assert_eq!(folder.inspect().unwrap(), State::Empty);
    folder.create(fill).unwrap();
    assert_eq!(folder.inspect().unwrap(), State::Made);
    assert!(folder.configuration().exists());
    assert_eq!(names(place.path()), ["data"]);
}

#[test]
fn nothing_is_written_beside_a_folder_that_stands_there() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::at(place.path().join("data"));
    fs::create_dir(folder.path()).unwrap();
    let look = |new: &Folder| {
        assert!(new.path().starts_with(folder.path()));
        assert_eq!(names(place.path()), ["data"]);
        fill(new)
    };
    folder.create(look).unwrap();
    assert_eq!(folder.inspect().unwrap(), State::Made);
}

#[test]
fn a_move_that_was_cut_off_is_finished_by_the_next_run() {
    let (_place, folder) = made();
    let moving = folder.path().join(MOVING);
    make_private(&moving).unwrap();
    fs::rename(folder.version(), moving.join("version")).unwrap();
    fs::rename(folder.role("custody"), moving.join("custody")).unwrap();
    assert_eq!(folder.inspect().unwrap(), State::Made);
    assert!(folder.role("custody").join("root").exists());
    assert!(!moving.exists());
}

#[test]
fn what_was_half_made_inside_a_folder_is_thrown_away() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::at(place.path());
    make_private(&folder.path().join(STAGING)).unwrap();
    write_private(&folder.path().join(STAGING).join("master.key"), b"half").unwrap();
    assert_eq!(folder.inspect().unwrap(), State::Empty);
    folder.create(fill).unwrap();
    assert_eq!(fs::read(folder.master_key()).unwrap(), b"key");
    assert!(!folder.path().join(STAGING).exists());
}

#[test]
fn a_second_first_run_does_not_overwrite_the_first() {
    let (_place, folder) = made();
    assert!(folder.create(fill).is_err());
    assert_eq!(names(folder.path()), ["custody", "master.key", "run", "version"]);
}

#[test]
fn a_folder_with_other_things_is_not_touched() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("thesis.txt"), "years of work").unwrap();
    let error = Folder::at(place.path()).inspect().unwrap_err();
    assert_eq!(error.exit(), Exit::Unwritable);
    assert_eq!(names(place.path()), ["thesis.txt"]);
}

#[test]
fn data_of_a_newer_version_is_refused() {
    let (_place, folder) = made();
    fs::write(folder.version(), "2\n").unwrap();
    let error = folder.inspect().unwrap_err();
    assert_eq!(error.exit(), Exit::Newer);
    assert!(error.to_string().contains("has format 2, this program reads up to 1"), "{error}");
    fs::write(folder.version(), "one").unwrap();
    assert!(matches!(folder.inspect(), Err(FolderError::Version(_))));
}

#[test]
fn open_permissions_are_refused_with_the_command_that_mends_them() {
    let (_place, folder) = made();
    chmod(&folder.master_key(), 0o640);
    let error = folder.inspect().unwrap_err();
    assert_eq!(error.exit(), Exit::Permissions);
    assert!(error.to_string().contains("mode 0640"), "{error}");
    assert!(error.to_string().contains("chmod 600"), "{error}");
    chmod(&folder.master_key(), 0o600);
    chmod(folder.path(), 0o755);
    assert!(folder.inspect().unwrap_err().to_string().contains("chmod 700"));
}

#[test]
fn the_second_lock_names_the_process_that_holds_the_first() {
    let (_place, folder) = made();
    let lock = folder.lock().unwrap();
    let error = folder.lock().unwrap_err();
    assert_eq!(error.exit(), Exit::Running);
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    drop(lock);
    folder.lock().unwrap();
}

#[test]
fn a_file_is_replaced_whole_and_its_mode_is_set() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("device.key");
    replace(&path, b"one", 0o600).unwrap();
    replace(&path, b"two", 0o600).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert_eq!(names(place.path()), ["device.key"]);
}
