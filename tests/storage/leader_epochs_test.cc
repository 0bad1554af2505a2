#include "storage/leader_epochs.h"

#include <catch2/catch.hpp>

#include "tests/storage/fault_file_system.h"

namespace millrace::storage {

static std::ostream& operator<<(std::ostream& out, const EpochEndOffset& end) {
  return out << end.epoch << "@" << end.end_offset;
}

namespace {

using test::FaultFileSystem;
using Entries = std::vector<EpochEntry>;

constexpr const char* kDirectory = "/p";

TEST_CASE("An epoch that could not be stored is not there, and is stored at the next attempt") {
  FaultFileSystem files;
  LeaderEpochs epochs(files, kDirectory);
  REQUIRE(epochs.assign(2, 5));
  files.faults.bytes_until_full = 0;
  CHECK_FALSE(epochs.assign(4, 11));
  CHECK(epochs.latest_epoch() == 2);
  files.faults.bytes_until_full = -1;
  REQUIRE(epochs.assign(4, 11));
  CHECK(LeaderEpochs(files, kDirectory).entries() == Entries{{2, 5}, {4, 11}});
}

TEST_CASE("The first epoch of a new log is stored without a sync, and the next one with it") {
  FaultFileSystem files;
  files.faults.fail_sync = true;
  LeaderEpochs epochs(files, kDirectory);
  REQUIRE(epochs.begin(3, 0));
  CHECK(LeaderEpochs(files, kDirectory).entries() == Entries{{3, 0}});
  REQUIRE(epochs.assign(3, 0));
  files.faults.fail_sync = false;
  REQUIRE(epochs.assign(4, 7));
  CHECK(LeaderEpochs(files, kDirectory).entries() == Entries{{3, 0}, {4, 7}});
}

TEST_CASE("OffsetForLeaderEpoch's answers, case by case (KIP-101, KIP-279)") {
  FaultFileSystem files;
  LeaderEpochs epochs(files, kDirectory);
  CHECK(epochs.end_offset_for(0, 10) == EpochEndOffset{-1, -1});
  REQUIRE(epochs.assign(2, 5));
  REQUIRE(epochs.assign(4, 11));
  REQUIRE(epochs.assign(7, 20));
  CHECK(epochs.end_offset_for(-1, 30) == EpochEndOffset{-1, -1});
  CHECK(epochs.end_offset_for(-2, 30) == EpochEndOffset{-2, 5});
  CHECK(epochs.end_offset_for(8, 30) == EpochEndOffset{-1, -1});
  CHECK(epochs.end_offset_for(7, 30) == EpochEndOffset{7, 30});
  CHECK(epochs.end_offset_for(4, 30) == EpochEndOffset{4, 20});
  CHECK(epochs.end_offset_for(5, 30) == EpochEndOffset{4, 20});
  CHECK(epochs.end_offset_for(2, 30) == EpochEndOffset{2, 11});
  CHECK(epochs.end_offset_for(1, 30) == EpochEndOffset{1, 5});
  CHECK(epochs.latest_epoch() == 7);
  CHECK(epochs.epoch_of(4) == std::nullopt);
  CHECK(epochs.epoch_of(5) == 2);
  CHECK(epochs.epoch_of(19) == 4);
  CHECK(epochs.epoch_of(1000) == 7);
}

TEST_CASE("A new epoch takes back what contradicts it, a known one changes nothing") {
  FaultFileSystem files;
  LeaderEpochs epochs(files, kDirectory);
  REQUIRE(epochs.assign(1, 0));
  REQUIRE(epochs.assign(2, 10));
  REQUIRE(epochs.assign(2, 15));
  CHECK(epochs.entries() == Entries{{1, 0}, {2, 10}});
  REQUIRE(epochs.assign(3, 10));
  CHECK(epochs.entries() == Entries{{1, 0}, {3, 10}});
  REQUIRE(epochs.assign(-1, 10));
  CHECK(epochs.entries() == Entries{{1, 0}, {3, 10}});
}

TEST_CASE("Truncation at both ends") {
  FaultFileSystem files;
  LeaderEpochs epochs(files, kDirectory);
  for (int i = 0; i < 4; ++i) REQUIRE(epochs.assign(i, 10 * i));
  REQUIRE(epochs.truncate_from_end(21));
  CHECK(epochs.entries() == Entries{{0, 0}, {1, 10}, {2, 20}});
  REQUIRE(epochs.truncate_from_end(20));
  CHECK(epochs.entries() == Entries{{0, 0}, {1, 10}});
  epochs.truncate_from_start(5);
  CHECK(epochs.entries() == Entries{{0, 5}, {1, 10}});
  epochs.truncate_from_start(10);
  CHECK(epochs.entries() == Entries{{1, 10}});
  epochs.truncate_from_start(17);
  CHECK(epochs.entries() == Entries{{1, 17}});
}

TEST_CASE("The checkpoint is Kafka's text, survives a crash, and damage to it is noticed") {
  FaultFileSystem files;
  {
    LeaderEpochs epochs(files, kDirectory);
    REQUIRE(epochs.assign(3, 0));
    REQUIRE(epochs.assign(5, 17));
  }
  const std::string path = std::string(kDirectory) + "/leader-epoch-checkpoint";
  files.crash();
  CHECK(as_text(files.content(path)) == "0\n2\n3 0\n5 17\n");
  CHECK(LeaderEpochs(files, kDirectory).entries() == Entries{{3, 0}, {5, 17}});
  for (const char* damaged : {"", "0\n", "1\n0\n", "0\n2\n3 0\n", "0\n2\n3 0\n2 17\n", "0\nx\n"}) {
    INFO(damaged);
    const Bytes bytes = as_bytes(damaged);
    files.content(path).assign(bytes.begin(), bytes.end());
    const LeaderEpochs epochs(files, kDirectory);
    CHECK(epochs.entries().empty());
    CHECK_FALSE(epochs.load_problem().empty());
  }
}

}  // namespace
}  // namespace millrace::storage
