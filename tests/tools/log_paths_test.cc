#include "tools/log_paths.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "command_line_run.h"
#include "protocol/batch_builder.h"
#include "storage/directory_lock.h"
#include "storage/journal_format.h"

using namespace millrace;
using namespace millrace::tools;
using millrace::tools::test::Run;

namespace {

// A data directory with one empty partition and an index.
struct DataDirectory {
  DataDirectory() {
    char name[] = "/tmp/millrace-log-paths.XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    path = name;
    partition = path + "/topics/t-0";
    std::filesystem::create_directories(partition);
    std::ofstream(partition + "/00000000000000000000.log");
    std::ofstream(partition + "/partition.metadata") << "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAw\n";
    REQUIRE(storage::OffsetIndex::open(path + "/index").has_value());
  }
  ~DataDirectory() { std::filesystem::remove_all(path); }

  std::string path;
  std::string partition;
};

Run run(const std::vector<std::string>& words) { return test::run(tools_commands(), words); }

std::string in_use(const DataDirectory& data) {
  return data.path + "/index: the index is in use by the broker (pid " + std::to_string(getpid()) + ")";
}

}  // namespace

TEST_CASE("the index of a data directory comes with its logs") {
  const DataDirectory data;
  storage::PosixFileSystem files;
  std::vector<std::string> notes;
  const auto logs = find_logs(files, data.partition, notes);
  REQUIRE(logs);
  CHECK(logs->front().index != nullptr);
  CHECK(logs->front().index_in_use.empty());
  CHECK(notes.empty());
  // Looking leaves nothing behind.
  CHECK_FALSE(std::filesystem::exists(data.path + "/.lock"));
}

TEST_CASE("verify tells of a partition without segments, and reads a data directory without partitions") {
  const DataDirectory data;
  std::filesystem::remove(data.partition + "/00000000000000000000.log");
  for (const std::string& path : {data.path, data.partition}) {
    const Run verified = run({"log", "verify", path.c_str()});
    CHECK(verified.code == kExitFailed);
    CHECK(verified.err.find(data.partition + ": a partition's directory without a segment file") !=
          std::string::npos);
  }
  std::filesystem::remove_all(data.partition);
  std::filesystem::create_directories(data.path + "/journal");
  std::ofstream(data.path + "/journal/00000001.journal");
  const Run verified = run({"log", "verify", data.path.c_str()});
  CHECK(verified.code == kExitDone);
  CHECK(verified.err.empty());
  CHECK(verified.out.find("00000001.journal") != std::string::npos);
}

TEST_CASE("an index that a broker uses is left alone") {
  const DataDirectory data;
  const auto lock = storage::DirectoryLock::take(data.path);
  REQUIRE(lock);
  storage::PosixFileSystem files;
  for (const std::string& path : {data.path, data.partition}) {
    std::vector<std::string> notes;
    const auto logs = find_logs(files, path, notes);
    REQUIRE(logs);
    CHECK(logs->front().index == nullptr);
    CHECK(logs->front().index_in_use == in_use(data));
    CHECK(notes.empty());
  }
}

TEST_CASE("verify says that it did not check a running broker's index") {
  const DataDirectory data;
  CHECK(run({"log", "verify", data.path.c_str()}).err.empty());
  const auto lock = storage::DirectoryLock::take(data.path);
  REQUIRE(lock);
  const Run verified = run({"log", "verify", data.path.c_str()});
  CHECK(verified.code == kExitDone);
  CHECK(verified.err == in_use(data) + " and was not checked\n");
  CHECK(verified.out.find("sound") != std::string::npos);
}

TEST_CASE("dump says why it does not show a running broker's index") {
  const DataDirectory data;
  CHECK(run({"log", "dump", "-i", data.partition.c_str()}).code == kExitDone);
  const auto lock = storage::DirectoryLock::take(data.path);
  REQUIRE(lock);
  const Run dumped = run({"log", "dump", "-i", data.partition.c_str()});
  CHECK(dumped.code == kExitFailed);
  CHECK(dumped.err == "millrace log dump: " + in_use(data) + " and is not shown while that runs\n");
  CHECK(run({"log", "dump", data.partition.c_str()}).err.empty());
}

TEST_CASE("a file that is no log by its name is refused") {
  const DataDirectory data;
  for (const std::string name :
       {"partition.metadata", "notes.txt", "00000000000000000000.timeindex", "log"}) {
    const std::string path = data.partition + "/" + name;
    std::ofstream(path, std::ios::app) << "text";
    for (const std::string command : {"verify", "dump"}) {
      const Run refused = run({"log", command, path});
      CHECK(refused.code == kExitFailed);
      CHECK(refused.out.empty());
      CHECK(refused.err == "millrace log " + command + ": " + path +
                               ": neither a segment file (*.log) nor a journal file (*.journal)\n");
    }
  }
  for (const std::string name : {"copy.log", "00000000000000000000.log.deleted", "7.log.cut"}) {
    const std::string path = data.partition + "/" + name;
    std::ofstream(path).flush();
    CHECK(run({"log", "verify", path}).code == kExitDone);
  }
}

TEST_CASE("verify shows no table when there was nothing to check") {
  const Run verified = run({"log", "verify", "/nonexistent/path"});
  CHECK(verified.code == kExitFailed);
  CHECK(verified.out.empty());
  CHECK(verified.err == "millrace log verify: /nonexistent/path: no such file or directory\n");
  CHECK(run({"log", "verify", "/nonexistent/path", "--output", "json"}).out == "[]\n");
}

namespace {

// So many groups of one batch each, a block long, between the file's headers.
std::string journal_file(uint64_t groups) {
  protocol::BatchBuilder batch{{}};
  batch.append(std::nullopt, as_bytes("value"), {}, 1);
  const auto built = batch.build();
  REQUIRE(built);
  const storage::JournalFileBlock header = storage::journal_file_block({7, 5});
  std::string content(as_text(header.bytes));
  for (uint64_t number = 1; number <= groups; ++number) {
    storage::JournalGroupBuilder group(5);
    group.add({}, 0, *built);
    content += as_text(group.seal({7, number}));
  }
  content += as_text(header.bytes);
  REQUIRE(content.size() == (groups + 2) * storage::kJournalBlockBytes);
  return content;
}

}  // namespace

TEST_CASE("verify reads the journal of a data directory, and finds damage before later groups") {
  const DataDirectory data;
  const std::string path = data.path + "/journal/00000001.journal";
  std::filesystem::create_directory(data.path + "/journal");
  std::string content = journal_file(3);
  std::ofstream(path) << content;
  const Run sound = run({"log", "verify", data.path.c_str()});
  CHECK(sound.code == kExitDone);
  CHECK(sound.err.empty());
  CHECK(sound.out.find(path) != std::string::npos);
  // The last group may be torn: it was never acknowledged.
  content[3 * storage::kJournalBlockBytes + 100] ^= 1;
  std::ofstream(path) << content;
  CHECK(run({"log", "verify", path.c_str()}).code == kExitDone);
  content = journal_file(3);
  content[2 * storage::kJournalBlockBytes + 100] ^= 1;
  std::ofstream(path) << content;
  const Run damaged = run({"log", "verify", data.path.c_str()});
  CHECK(damaged.code == kExitFailed);
  CHECK(damaged.err.find(path + ": at byte 8192: a group whose checksums are wrong") != std::string::npos);
  // And in its headers, of which one is enough.
  content = journal_file(3);
  content[20] ^= 1;
  std::ofstream(path) << content;
  const Run by_copy = run({"log", "verify", path.c_str()});
  CHECK(by_copy.code == kExitFailed);
  CHECK(by_copy.err.find(path + ": at byte 0: the header's checksum is wrong; the copy") !=
        std::string::npos);
  CHECK(by_copy.out.find(" 3 ") != std::string::npos);
  content[4 * storage::kJournalBlockBytes + 20] ^= 1;
  std::ofstream(path) << content;
  const Run headless = run({"log", "verify", path.c_str()});
  CHECK(headless.code == kExitFailed);
  CHECK(headless.err.find(path + ": at byte 0: no sound header") != std::string::npos);
}
