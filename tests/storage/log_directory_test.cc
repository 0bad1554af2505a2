#include "storage/log_directory.h"

#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/storage/log_fixture.h"
#include "tests/storage/temporary_directory.h"

namespace millrace::storage {
namespace {

using test::FaultFileSystem;
using test::kNow;
using test::TemporaryDirectory;

const Uuid kTopic = Uuid::from_random(11, 12);
const Uuid kOther = Uuid::from_random(13, 14);

std::unique_ptr<LogDirectory> open_in_memory(FaultFileSystem& files) {
  auto directory = LogDirectory::open_in_memory(files, "/data");
  if (!directory) FAIL(directory.error().message);
  return std::move(*directory);
}

TEST_CASE("A second broker is kept out and learns the owner's pid") {
  PosixFileSystem files;
  TemporaryDirectory temporary;
  auto first = LogDirectory::open(files, temporary.path + "/data");
  REQUIRE(first);
  const auto second = LogDirectory::open(files, temporary.path + "/data");
  REQUIRE_FALSE(second);
  CHECK(second.error().message.find("pid " + std::to_string(getpid())) != std::string::npos);
  first->reset();
  CHECK(LogDirectory::open(files, temporary.path + "/data"));
}

TEST_CASE("Partitions are found again by name and topic id; strangers are left alone and reported") {
  FaultFileSystem files;
  auto directory = open_in_memory(files);
  REQUIRE(directory->create("a-b.c_d", {kTopic, 12}));
  REQUIRE(directory->create("orders", {kOther, 0}));
  REQUIRE(directory->create("orders", {kOther, 0}));
  CHECK(directory->create("orders", {kTopic, 0}).error().code == ErrorCode::kInconsistentTopicId);
  CHECK(as_text(files.content("/data/topics/orders-0/partition.metadata")) ==
        "version: 0\ntopic_id: " + kOther.to_string());
  REQUIRE(files.create_directory("/data/topics/lost+found"));
  REQUIRE(files.create_directory("/data/topics/half-3"));
  std::vector<std::string> problems;
  const auto found = directory->list(&problems);
  REQUIRE(found);
  REQUIRE(found->size() == 2);
  CHECK(found->at(0).topic == "a-b.c_d");
  CHECK(found->at(0).id == TopicIdPartition{kTopic, 12});
  CHECK(found->at(0).path == "/data/topics/a-b.c_d-12");
  CHECK(problems.size() == 2);
}

TEST_CASE("New partitions are there after a crash once they are synced, few or many") {
  FaultFileSystem files;
  auto directory = open_in_memory(files);
  REQUIRE(files.sync_directory("/data"));
  const int32_t count = GENERATE(1, 20);
  std::vector<PartitionDirectory> made;
  for (int32_t i = 0; i < count; ++i) {
    const auto partition = directory->create("orders", {kTopic, i});
    REQUIRE(partition);
    CHECK(partition->is_new);
    made.push_back(*partition);
  }
  REQUIRE(directory->sync_new(made));
  REQUIRE(directory->create("later", {kOther, 0}));
  files.crash();
  directory = open_in_memory(files);
  CHECK(directory->list(nullptr)->size() == made.size());
  CHECK_FALSE(directory->create("orders", {kTopic, 0})->is_new);
}

TEST_CASE("What a kill left unsynced of new partitions is synced by the next start") {
  FaultFileSystem files;
  auto directory = open_in_memory(files);
  REQUIRE(files.sync_directory("/data"));
  std::vector<PartitionDirectory> made{*directory->create("orders", {kTopic, 0})};
  SECTION("Nothing of it was synced yet") {}
  SECTION("Another shard's partitions were synced") {
    REQUIRE(directory->create("orders", {kTopic, 1}));
    REQUIRE(directory->sync_new(made));
  }
  SECTION("Another shard's partitions were synced later, by a start that was killed, too") {
    directory.reset();
    directory = open_in_memory(files);
    REQUIRE(directory->create("orders", {kTopic, 1}));
  }
  const size_t count = directory->list(nullptr)->size();
  directory.reset();
  directory = open_in_memory(files);
  CHECK_FALSE(directory->create("orders", {kTopic, 0})->is_new);
  files.crash();
  directory = open_in_memory(files);
  CHECK(directory->list(nullptr)->size() == count);
}

TEST_CASE("A start after new partitions were synced needs no sync of its own") {
  FaultFileSystem files;
  auto directory = open_in_memory(files);
  const std::vector<PartitionDirectory> made{*directory->create("orders", {kTopic, 0}),
                                             *directory->create("orders", {kTopic, 1})};
  REQUIRE(directory->sync_new(std::span(made).first(1)));
  REQUIRE(directory->sync_new(std::span(made).subspan(1)));
  directory.reset();
  int syncs = 0;
  files.judge = [&](test::Operation operation, const std::string&) {
    syncs += operation == test::Operation::kSyncAll ? 1 : 0;
    return test::Verdict::kProceed;
  };
  directory = open_in_memory(files);
  CHECK(syncs == 0);
}

TEST_CASE("A partition that a crash left half made is made again, one with records isn't") {
  FaultFileSystem files;
  auto directory = open_in_memory(files);
  REQUIRE(directory->create("orders", {kTopic, 0}));
  files.content("/data/topics/orders-0/partition.metadata").clear();
  const std::string segment = "/data/topics/orders-0/00000000000000000000.log";
  REQUIRE(files.open(segment, OpenMode::kCreate));
  const bool has_lost_it = GENERATE(false, true);
  if (has_lost_it) REQUIRE(files.remove("/data/topics/orders-0/partition.metadata"));
  SECTION("without records") {
    REQUIRE(LeaderEpochs(files, "/data/topics/orders-0").begin(0, 0));
    CHECK(directory->create("orders", {kOther, 0})->is_new);
    CHECK(*read_topic_id(files, "/data/topics/orders-0") == kOther);
  }
  SECTION("with records") {
    files.content(segment).resize(1);
    const auto refused = directory->create("orders", {kTopic, 0});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::kCorruptMessage);
    CHECK(refused.error().message.find("write it anew: two lines") != std::string::npos);
    CHECK(files.has("/data/topics/orders-0/partition.metadata") == !has_lost_it);
    CHECK(files.content(segment).size() == 1);
  }
}

TEST_CASE("A deleted partition's name is free at once; its files go later, also after a crash") {
  FaultFileSystem files;
  auto directory = open_in_memory(files);
  const auto partition = directory->create("orders", {kTopic, 0});
  REQUIRE(partition);
  const std::string long_name(249, 'x');
  const auto longest = directory->create(long_name, {kTopic, 1000});
  REQUIRE(longest);
  REQUIRE(directory->index().seal({partition->id, 0}, {}, {0, 1, 1, 1, 1, 1, true}));
  REQUIRE(directory->retire(*partition));
  REQUIRE(directory->retire(*longest));
  CHECK(directory->index().summaries(partition->id)->empty());
  CHECK(directory->list(nullptr)->empty());
  REQUIRE(directory->create("orders", {kOther, 0}));
  const auto entries = files.list("/data/topics");
  REQUIRE(entries->size() == 3);
  for (const auto& entry : *entries) CHECK(entry.name.size() <= 255);
  CHECK(files.has("/data/topics/orders-0." + kTopic.to_string() + "-delete/partition.metadata"));
  directory.reset();
  directory = open_in_memory(files);
  CHECK(*directory->remove_retired() == 2);
  CHECK(files.list("/data/topics")->size() == 1);
}

TEST_CASE("Only a stop that was said to be clean is taken for one, and only once") {
  FaultFileSystem files;
  auto directory = open_in_memory(files);
  CHECK_FALSE(directory->clean_shutdown());
  REQUIRE(directory->mark_clean_shutdown());
  files.crash();
  directory = open_in_memory(files);
  CHECK(directory->clean_shutdown());
  files.crash();
  directory = open_in_memory(files);
  CHECK_FALSE(directory->clean_shutdown());
}

TEST_CASE("A directory belongs to one node of one cluster") {
  FaultFileSystem files;
  auto directory = open_in_memory(files);
  CHECK_FALSE(directory->identity());
  REQUIRE(directory->claim({"cluster-a", 1}));
  files.crash();
  directory = open_in_memory(files);
  CHECK(directory->identity() == DirectoryIdentity{"cluster-a", 1});
  REQUIRE(directory->claim({"cluster-a", 1}));
  CHECK(directory->claim({"cluster-b", 1}).error().code == ErrorCode::kInconsistentClusterId);
  CHECK(directory->claim({"cluster-a", 2}).error().message.find("node 1 of cluster cluster-a") !=
        std::string::npos);
  files.content("/data/meta.properties").resize(9);
  CHECK(LogDirectory::open_in_memory(files, "/data").error().code == ErrorCode::kKafkaStorageError);
}

TEST_CASE("A journal of which nothing is left is told after a kill, where it must have had files") {
  FaultFileSystem files;
  auto directory = open_in_memory(files);
  REQUIRE(directory->claim({"cluster-a", 1}));
  const TopicIdPartition id{Uuid::from_random(1, 2), 0};
  const auto partition = directory->create("orders", id);
  REQUIRE(partition);
  REQUIRE(files.open(partition->path + "/" + Segment::file_name(0), OpenMode::kCreate));
  const auto gaps = [&] {
    directory = open_in_memory(files);
    return directory->journals().gaps();
  };
  // Nothing was appended yet, so nothing was journaled.
  CHECK(gaps().empty());
  files.content(partition->path + "/" + Segment::file_name(0)).resize(100);
  SECTION("its files are gone") {
    const auto told = gaps();
    REQUIRE(told.size() == 1);
    CHECK(told[0].find("/data/journal has no file") == 0);
  }
  SECTION("the directory is gone") {
    REQUIRE(files.remove("/data/journal"));
    const auto told = gaps();
    REQUIRE(told.size() == 1);
    CHECK(told[0].find("/data/journal is gone") == 0);
  }
  SECTION("after a clean stop") {
    REQUIRE(directory->mark_clean_shutdown());
    CHECK(gaps().empty());
  }
}

TEST_CASE("Names of partition directories") {
  CHECK(parse_partition_directory("a-0") == TopicPartition{"a", 0});
  CHECK(parse_partition_directory("a-b-17") == TopicPartition{"a-b", 17});
  for (const char* name : {"", "a", "-1", "a-", "a-x", "a--1", "a-1x", "a-99999999999"}) {
    INFO(name);
    const auto parsed = parse_partition_directory(name);
    CHECK((!parsed || parsed->topic == "a-"));
  }
}

TEST_CASE("On a real disk: appended, closed, opened, read through a descriptor") {
  PosixFileSystem files;
  TemporaryDirectory temporary;
  Buffer sent = test::batch_of(3);
  for (const bool first : {true, false}) {
    auto directory = LogDirectory::open(files, temporary.path);
    REQUIRE(directory);
    CHECK((*directory)->clean_shutdown() == !first);
    const auto partition = (*directory)->create("orders", {kTopic, 0});
    REQUIRE(partition);
    LogOptions options{partition->path, partition->id, "orders", {}, kNow, (*directory)->clean_shutdown()};
    RecoveryReport report;
    auto log = Log::open(files, (*directory)->index(), options, &report);
    REQUIRE(log);
    if (first) {
      Buffer batch = sent;
      REQUIRE((*log)->append_as_leader(batch, 0, kNow));
      sent = batch;
    } else {
      CHECK(report.segments_scanned == 0);
      const auto slice = (*log)->read(0, 3, 1000, true);
      REQUIRE(slice);
      Buffer bytes(slice->size);
      REQUIRE(::pread(slice->file->fd(), bytes.data(), bytes.size(), slice->position) ==
              static_cast<ssize_t>(bytes.size()));
      CHECK(bytes == sent);
    }
    REQUIRE((*log)->close(kNow));
    REQUIRE((*directory)->mark_clean_shutdown());
  }
}

}  // namespace
}  // namespace millrace::storage
