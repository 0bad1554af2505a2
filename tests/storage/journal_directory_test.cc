#include "storage/journal_directory.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "tests/storage/journal_fixture.h"

namespace millrace::storage {
namespace {

using test::batch_at;
using test::concatenated;
using test::copy;
using test::file_with;
using test::group_of;
using test::in_version_1;
using test::JournalFixture;
using test::kClicks;
using test::kOrders;
using test::kSalt;

TEST_CASE("Files stay as they are until nobody needs what was read from them") {
  JournalFixture f;
  f.begin();
  f.commit_batches(1);
  f.open(true);
  f.directory->keep_for({kOrders});
  f.add_file();
  REQUIRE(f.journal->stage(kClicks, 0, batch_at(0)));
  f.commit();
  CHECK(f.recovered(kOrders).size() == 1);
  // The next start finds both.
  f.open(true);
  CHECK(f.recovered(kOrders).size() == 1);
  CHECK(f.recovered(kClicks).size() == 1);
  f.directory->mark_recovered(kOrders);
  CHECK(f.recovered(kOrders).empty());
  f.directory->keep_for({kClicks});
  CHECK(f.recovered(kClicks).size() == 1);
  f.directory->mark_recovered(kClicks);
  CHECK(f.recovered(kClicks).empty());
  f.add_file();
  REQUIRE(f.directory->take_file(f.journal->run()));
  CHECK(f.files.paths().size() == 2);
}

TEST_CASE("A partition that stays out of service keeps its own files only, at start after start") {
  JournalFixture f;
  f.begin();
  f.commit_batches(1);
  for (int start = 0; start < 6; ++start) {
    f.open(true);
    CHECK(f.recovered(kOrders).size() == 1);
    f.directory->keep_for({kOrders});
    f.add_file();
    REQUIRE(f.journal->stage(kClicks, 0, batch_at(0)));
    f.commit();
  }
  CHECK(f.files.paths().size() == 2);
}

TEST_CASE("Files that were checkpointed aren't read") {
  JournalFixture f;
  f.begin();
  const Buffer batch = batch_at(0, 1, 3 << 19);
  // Five fill a file; the position of each file's first group is 1, 6 and 11.
  JournalPosition needed_from;
  for (int64_t i = 0; i < 12; ++i) {
    if (i == 8) needed_from = f.journal->next_position();
    if (i == 11) f.journal->set_needed_from(needed_from);
    if (f.journal->wants_file()) f.add_file();
    REQUIRE(f.journal->stage(kOrders, i, batch));
    f.commit();
  }
  f.open(true);
  // Those of the file before are there as well.
  CHECK(f.recovered(kOrders).size() == 7);
}

TEST_CASE("A file that was taken but can't have been written to isn't read") {
  JournalFixture f;
  f.begin();
  const Buffer batch = batch_at(0, 1, 3 << 19);
  const size_t group_bytes = JournalGroupBuilder(kSalt).size_with(batch.size());
  // Five fill a file.
  const auto damage = [&](const std::string& name, size_t group) {
    f.files.content("/data/journal/" + name)[kJournalBlockBytes + group * group_bytes + 100] ^= std::byte{1};
  };
  const std::string first = "00000001.journal";
  const std::string second = "00000002.journal";
  SECTION("the one before has room for any group") {
    f.commit_large_batches(1);
    f.add_file();
    CHECK(f.open_and_note_reads() == std::set{first});
    CHECK(f.recovered(kOrders).size() == 1);
  }
  SECTION("a group may not have fitted into the one before") {
    f.commit_large_batches(5);
    REQUIRE(f.files.has("/data/journal/" + second));
    CHECK(f.open_and_note_reads() == std::set{first, second});
    CHECK(f.recovered(kOrders).size() == 5);
  }
  SECTION("the one before ends in damage, and its own first group is damaged") {
    f.commit_large_batches(7);
    damage(first, 3);
    damage(first, 4);
    f.files.content("/data/journal/" + second)[kJournalBlockBytes + 20] ^= std::byte{1};
    CHECK(f.open_and_note_reads().contains(second));
    CHECK(f.recovered(kOrders) == std::vector<int64_t>{0, 1, 2, 6});
    CHECK(f.directory->damages().size() == 1);
  }
  SECTION("no file of the run begins with a sound group") {
    f.commit_large_batches(2);
    f.files.content("/data/journal/" + first)[kJournalBlockBytes + 20] ^= std::byte{1};
    CHECK(f.open_and_note_reads() == std::set{first, second});
    CHECK(f.recovered(kOrders) == std::vector<int64_t>{1});
  }
  SECTION("numbers are missing") {
    f.commit_large_batches(12);
    f.files.content("/data/journal/" + second)[kJournalBlockBytes + 20] ^= std::byte{1};
    CHECK(f.open_and_note_reads().contains(second));
    CHECK(f.recovered(kOrders) == std::vector<int64_t>{0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11});
    CHECK(f.directory->damages().size() == 1);
  }
}

TEST_CASE("Damage of a file's first group is told, and a torn one isn't") {
  JournalFixture f;
  f.begin();
  f.commit_batches(3);
  Buffer& content = f.files.content("/data/journal/00000001.journal");
  SECTION("its header") {
    content[kJournalBlockBytes + 20] ^= std::byte{1};
    f.open(true);
    CHECK(f.directory->damages().size() == 1);
    CHECK(f.recovered(kOrders) == std::vector<int64_t>{1, 2});
  }
  SECTION("its batch") {
    content[kJournalBlockBytes + 100] ^= std::byte{1};
    f.open(true);
    CHECK(f.directory->damages().size() == 1);
  }
  SECTION("torn, of a later start") {
    f.open(true);
    f.directory->keep_for({});
    f.add_file();
    REQUIRE(f.journal->stage(kOrders, 3, batch_at(3)));
    f.commit();
    f.files.content("/data/journal/00000001.journal")[kJournalBlockBytes + 100] ^= std::byte{1};
    f.open(true);
    CHECK(f.directory->damages().empty());
  }
}

TEST_CASE("A torn group in a file that was checkpointed is no damage") {
  const Buffer batch = batch_at(7);
  const auto content_of = [](uint64_t of_run, const std::vector<Buffer>& groups) -> JournalFileContent {
    return parse_journal_file(file_with(of_run, groups));
  };
  const uint64_t run = uint64_t{5} << kJournalRunBits;
  Buffer torn = group_of({run, 9}, batch);
  for (const size_t at : {20, 100}) {
    torn[at] ^= std::byte{1};
    const JournalFileContent reused =
        content_of(run, {torn, group_of({run, 2}, batch), group_of({run, 3}, batch)});
    JournalGroupBuilder builder(kSalt);
    builder.add(kOrders, 7, batch);
    const JournalFileContent later = content_of(run, {copy(builder.seal({{run, 8}, 4}))});
    CHECK_FALSE(begins_damaged(reused, std::vector{reused, later}));
    torn[at] ^= std::byte{1};
  }
  // Of the latest needed groups' file.
  torn = group_of({run, 1}, batch);
  torn[20] ^= std::byte{1};
  const JournalFileContent damaged = content_of(run, {torn, group_of({run, 2}, batch)});
  CHECK(begins_damaged(damaged, std::vector{damaged}));
  // A later start's groups are there.
  const JournalFileContent newer = content_of(run << 1, {group_of({run << 1, 1}, batch)});
  CHECK_FALSE(begins_damaged(damaged, std::vector{damaged, newer}));
}

TEST_CASE("What isn't the journal's is told and left alone, and a file comes back that couldn't be opened") {
  JournalFixture f;
  f.begin();
  f.commit_batches(1);
  const std::string foreign = "/data/journal/00000002.journal";
  REQUIRE(f.files.open(foreign, OpenMode::kCreate));
  f.files.content(foreign).resize(JournalDirectory::kFileBytes + 1, std::byte{7});
  f.open(true);
  CHECK(f.recovered(kOrders) == std::vector<int64_t>{0});
  REQUIRE(f.directory->damages().size() == 1);
  CHECK(f.directory->damages()[0].find(foreign) == 0);
  f.directory->keep_for({});
  f.files.judge = [](test::Operation operation, const std::string&) {
    return operation == test::Operation::kCreate || operation == test::Operation::kOpen
               ? test::Verdict::kFail
               : test::Verdict::kProceed;
  };
  CHECK_FALSE(f.directory->take_file(f.journal->run()));
  f.files.judge = nullptr;
  const auto taken = f.directory->take_file(f.journal->run());
  REQUIRE(taken);
  CHECK((*taken)->path() == "/data/journal/00000001.journal");
}

TEST_CASE("A file that was cut off is told, although its header is sound") {
  JournalFixture f;
  f.begin();
  f.commit_batches(3);
  const std::string path = "/data/journal/00000001.journal";
  f.files.content(path).resize(3 * kJournalBlockBytes);
  f.open(true);
  CHECK(f.recovered(kOrders) == std::vector<int64_t>{0, 1});
  REQUIRE(f.directory->damages().size() == 1);
  CHECK(f.directory->damages()[0].find(path + " has 12288 bytes") == 0);
  // Nobody needs it after a clean stop.
  f.open(false);
  CHECK(f.directory->damages().empty());
}

TEST_CASE("Groups that were in a file that is gone are told, if they were needed") {
  JournalFixture f;
  f.begin();
  // Five fill a file.
  f.commit_large_batches(12);
  const auto path = [](int number) { return "/data/journal/0000000" + std::to_string(number) + ".journal"; };
  SECTION("none is gone") {
    f.open(true);
    CHECK(f.directory->damages().empty());
  }
  SECTION("the first file") {
    REQUIRE(f.files.remove(path(1)));
    f.open(true);
    REQUIRE(f.directory->gaps().size() == 1);
    CHECK(f.directory->gaps()[0].find("Groups 1 to 5 of run") == 0);
    CHECK(f.directory->damages() == f.directory->gaps());
  }
  SECTION("one in the middle, with a directory in its place") {
    REQUIRE(f.files.remove(path(2)));
    REQUIRE(f.files.create_directory(path(2)));
    f.open(true);
    REQUIRE(f.directory->gaps().size() == 1);
    CHECK(f.directory->gaps()[0].find("Groups 6 to 10 of run") == 0);
    REQUIRE(f.directory->damages().size() == 2);
    CHECK(f.directory->damages()[0].find("acknowledged records may be missing") != std::string::npos);
  }
  SECTION("after a checkpoint nobody needs them") {
    f.journal->set_needed_from(f.journal->next_position());
    REQUIRE(f.journal->stage(kOrders, 12, batch_at(12)));
    f.commit();
    REQUIRE(f.files.remove(path(1)));
    f.open(true);
    CHECK(f.directory->damages().empty());
  }
}

TEST_CASE("A file that is gone is told where nothing is left of its run, and is missed once") {
  JournalFixture f;
  f.begin();
  f.commit_batches(3);
  f.add_file();
  REQUIRE(f.files.remove("/data/journal/00000001.journal"));
  f.open(true);
  REQUIRE(f.directory->gaps().size() == 1);
  CHECK(f.directory->gaps()[0].find("A file of /data/journal was removed") == 0);
  f.directory->keep_for({});
  f.add_file();
  CHECK(f.files.has("/data/journal/00000001.journal"));
  f.open(true);
  CHECK(f.directory->gaps().empty());
}

TEST_CASE("A file whose header is damaged is read by the copy; without that it isn't believed") {
  JournalFixture f;
  f.begin();
  f.commit_batches(1);
  Buffer& content = f.files.content("/data/journal/00000001.journal");
  content[20] ^= std::byte{1};
  f.open(true);
  CHECK(f.recovered(kOrders) == std::vector<int64_t>{0});
  REQUIRE(f.directory->damages().size() == 1);
  content[JournalDirectory::kFileBytes - static_cast<int64_t>(kJournalBlockBytes) + 20] ^= std::byte{1};
  f.open(true);
  CHECK(f.recovered(kOrders).empty());
  REQUIRE(f.directory->damages().size() == 1);
  // Not used, but kept for a person.
  f.directory->keep_for({});
  f.add_file();
  CHECK(f.files.paths().size() == 2);
  content[20] ^= std::byte{1};
  f.open(true);
  CHECK(f.recovered(kOrders) == std::vector<int64_t>{0});
  // Nobody needs it after a clean stop: it is written to again.
  content[20] ^= std::byte{1};
  f.open(false);
  REQUIRE(f.directory->take_file(f.journal->run()));
  REQUIRE(f.directory->take_file(f.journal->run()));
  CHECK(f.files.paths().size() == 2);
  f.open(true);
  CHECK(f.directory->damages().empty());
  CHECK(f.recovered(kOrders).empty());
}

TEST_CASE("A file of version 1 is read once more, and then becomes one of version 2") {
  JournalFixture f;
  f.open(false);
  REQUIRE(f.files.open("/data/journal/00000001.journal", OpenMode::kCreate));
  Buffer& content = f.files.content("/data/journal/00000001.journal");
  const uint64_t run = uint64_t{9} << kJournalRunBits;
  content = concatenated(
      {in_version_1(group_of({run, 1}, batch_at(7))), in_version_1(group_of({run, 2}, batch_at(8)))});
  content.resize(JournalDirectory::kFileBytes);
  f.files.on_disk("/data/journal/00000001.journal") = content;
  f.open(true);
  CHECK(f.recovered(kOrders) == std::vector<int64_t>{7, 8});
  CHECK(f.directory->damages().empty());
  CHECK(f.journal->run().number > run);
  f.directory->keep_for({});
  f.add_file();
  REQUIRE(f.journal->stage(kOrders, 9, batch_at(9)));
  f.commit();
  f.files.crash();
  f.open(true);
  CHECK(f.files.paths().size() == 1);
  CHECK(f.recovered(kOrders) == std::vector<int64_t>{9});
}

// Of the size that files had before, with nine groups.
Buffer older_file() {
  const uint64_t run = uint64_t{9} << kJournalRunBits;
  std::vector<Buffer> groups;
  // The last one lies behind today's size.
  for (uint64_t i = 1; i <= 9; ++i)
    groups.push_back(group_of({run, i}, batch_at(static_cast<int64_t>(i), 1, 3 << 19)));
  Buffer content = file_with(run, groups);
  const Buffer header(content.end() - kJournalBlockBytes, content.end());
  content.resize(JournalDirectory::kOlderFileBytes - static_cast<int64_t>(kJournalBlockBytes));
  content.insert(content.end(), header.begin(), header.end());
  return content;
}

TEST_CASE("A file of the size that they had before is read once more, and then becomes one of today's") {
  JournalFixture f;
  f.open(false);
  REQUIRE(f.files.open("/data/journal/00000001.journal", OpenMode::kCreate));
  Buffer& content = f.files.content("/data/journal/00000001.journal");
  content = older_file();
  f.files.on_disk("/data/journal/00000001.journal") = content;
  SECTION("whole") {
    f.open(true);
    CHECK(f.recovered(kOrders).size() == 9);
    CHECK(f.directory->damages().empty());
    f.directory->keep_for({});
    f.add_file();
    REQUIRE(f.journal->stage(kOrders, 10, batch_at(10)));
    f.commit();
    f.files.crash();
    CHECK(f.files.content("/data/journal/00000001.journal").size() == JournalDirectory::kFileBytes);
    f.open(true);
    CHECK(f.files.paths().size() == 1);
    CHECK(f.recovered(kOrders) == std::vector<int64_t>{10});
    CHECK(f.directory->damages().empty());
  }
  SECTION("by the copy of its header") {
    content[20] ^= std::byte{1};
    f.open(true);
    CHECK(f.recovered(kOrders).size() == 9);
    CHECK(f.directory->damages().size() == 1);
  }
  SECTION("cut off") {
    content.resize(content.size() - kJournalBlockBytes);
    f.open(true);
    CHECK(f.recovered(kOrders).size() == 9);
    REQUIRE(f.directory->damages().size() == 1);
    CHECK(f.directory->damages()[0].find("a file of the journal has 16777216") != std::string::npos);
  }
}

TEST_CASE("A crash while a journal takes a file of the size before leaves it usable, and its header told") {
  const std::string path = "/data/journal/00000001.journal";
  for (const bool is_damaged : {false, true}) {
    for (int survives = 0; survives < 6; ++survives) {
      CAPTURE(is_damaged, survives);
      JournalFixture f;
      f.open(false);
      REQUIRE(f.files.open(path, OpenMode::kCreate));
      f.files.content(path) = older_file();
      if (is_damaged) f.files.content(path)[20] ^= std::byte{1};
      f.files.on_disk(path) = f.files.content(path);
      REQUIRE(f.files.sync_directory("/data/journal"));
      f.open(true);
      REQUIRE(f.recovered(kOrders).size() == 9);
      f.directory->keep_for({});
      f.crash_while_taking_a_file(survives);
      f.open(true);
      // Its header is always found, so what is told is at most that the first one is damaged.
      for (const std::string& damage : f.directory->damages())
        CHECK(damage.find("the copy of that in its last block is used") != std::string::npos);
      f.check_the_only_file_works();
    }
  }
}

TEST_CASE("A file that something was appended to is used up to its end, and becomes one of today's") {
  const std::string path = "/data/journal/00000001.journal";
  JournalFixture f;
  f.begin();
  f.commit_batches(3);
  const auto appended =
      GENERATE(int64_t{5000}, int64_t{kJournalBlockBytes}, JournalDirectory::kFileBytes + 4, 1);
  f.files.content(path).resize(static_cast<size_t>(JournalDirectory::kFileBytes + appended), std::byte{'z'});
  f.files.on_disk(path) = f.files.content(path);
  SECTION("after a kill") {
    f.open(true);
    CHECK(f.recovered(kOrders) == std::vector<int64_t>{0, 1, 2});
    REQUIRE(f.directory->damages().size() == 1);
    CHECK(f.directory->damages()[0].find(path + " has") == 0);
    CHECK(f.directory->damages()[0].find("nothing is missing") != std::string::npos);
  }
  SECTION("after a clean stop") {
    f.open(false);
    CHECK(f.directory->damages().empty());
  }
  f.check_the_only_file_works();
  CHECK(f.directory->damages().empty());
  CHECK(f.files.content(path).size() == JournalDirectory::kFileBytes);
}

TEST_CASE(
    "A crash while a journal takes a file that has grown leaves it usable, and nothing told as missing") {
  const std::string path = "/data/journal/00000001.journal";
  for (int survives = 0; survives < 4; ++survives) {
    CAPTURE(survives);
    JournalFixture f;
    f.begin();
    f.commit_batches(3);
    f.files.content(path).resize(JournalDirectory::kFileBytes + 5000, std::byte{'z'});
    f.files.on_disk(path) = f.files.content(path);
    f.open(true);
    REQUIRE(f.recovered(kOrders).size() == 3);
    f.directory->keep_for({});
    f.crash_while_taking_a_file(survives);
    f.open(true);
    for (const std::string& damage : f.directory->damages())
      CHECK(damage.find("nothing is missing") != std::string::npos);
    f.check_the_only_file_works();
  }
}

TEST_CASE("A batch that is gone from its file since the start read it is an error, and isn't restored") {
  JournalFixture f;
  f.begin();
  f.commit_batches(1);
  f.open(true);
  const JournaledBatch batch = f.directory->recovered(kOrders).front();
  CHECK(batch.log_end_offset == 0);
  CHECK(batch.next_offset == 1);
  REQUIRE(read_journaled(batch));
  CHECK(*read_journaled(batch) == batch_at(0));
  f.files.content("/data/journal/00000001.journal")[static_cast<size_t>(batch.slice.position) + 61] ^=
      std::byte{1};
  const auto read = read_journaled(batch);
  REQUIRE_FALSE(read);
  CHECK(read.error().message.find("/data/journal/00000001.journal") == 0);
  f.files.content("/data/journal/00000001.journal").resize(static_cast<size_t>(batch.slice.position) + 10);
  CHECK_FALSE(read_journaled(batch));
}

TEST_CASE("A crash while a journal takes a file leaves it usable, at whichever write") {
  for (int survives = 0; survives < 3; ++survives) {
    JournalFixture f;
    f.open(false);
    f.add_file();
    f.open(false);
    int writes = 0;
    f.files.judge = [&](test::Operation operation, const std::string&) {
      const bool dies = operation == test::Operation::kDurableWrite && writes++ == survives;
      return dies ? test::Verdict::kFail : test::Verdict::kProceed;
    };
    CHECK(f.directory->take_file(f.journal->run()).has_value() == (survives == 2));
    f.files.judge = nullptr;
    f.files.crash();
    f.open(true);
    CHECK(f.directory->damages().empty());
    f.check_the_only_file_works();
  }
}

TEST_CASE("A file that the disk has no room for is an error, takes nothing, and leaves nothing") {
  JournalFixture f;
  f.open(false);
  f.files.faults.bytes_until_full = 1 << 20;
  CHECK_FALSE(f.directory->take_file(f.journal->run()));
  // Not even for a moment: what clients send needs it.
  CHECK(f.files.faults.bytes_until_full == 1 << 20);
  CHECK(f.files.paths().empty());
  f.files.faults.bytes_until_full = -1;
  CHECK(f.directory->take_file(f.journal->run()));
}

TEST_CASE("A file that could not be made leaves neither a part of it nor a missing number") {
  JournalFixture f;
  f.open(false);
  const auto failing = GENERATE(test::Operation::kCreate, test::Operation::kOpen,
                                test::Operation::kDurableWrite, test::Operation::kSyncDirectory);
  const bool removes = GENERATE(true, false);
  f.files.judge = [&](test::Operation operation, const std::string&) {
    const bool fails = operation == failing || (operation == test::Operation::kRemove && !removes);
    return fails ? test::Verdict::kFail : test::Verdict::kProceed;
  };
  for (int i = 0; i < 3; ++i) CHECK_FALSE(f.directory->take_file(f.journal->run()));
  if (removes) CHECK(f.files.paths().empty());
  CHECK(f.files.paths().size() < 2);
  f.files.judge = nullptr;
  f.add_file();
  CHECK(f.files.paths() == std::vector<std::string>{"/data/journal/00000001.journal"});
  CHECK(f.files.content("/data/journal/00000001.journal").size() == JournalDirectory::kFileBytes);
}

TEST_CASE(
    "The number of a file that could not be made is the next one's, though others were made meanwhile") {
  JournalFixture f;
  f.open(false);
  std::shared_ptr<File> other;
  bool nested = false;
  f.files.judge = [&](test::Operation operation, const std::string&) {
    if (operation != test::Operation::kDurableWrite || std::exchange(nested, true))
      return test::Verdict::kProceed;
    other = *f.directory->take_file(f.journal->run());
    return test::Verdict::kFail;
  };
  CHECK_FALSE(f.directory->take_file(f.journal->run()));
  f.files.judge = nullptr;
  REQUIRE(other);
  CHECK(f.files.paths() == std::vector<std::string>{"/data/journal/00000002.journal"});
  f.add_file();
  CHECK(f.files.paths() ==
        std::vector<std::string>{"/data/journal/00000001.journal", "/data/journal/00000002.journal"});
}

}  // namespace
}  // namespace millrace::storage
