#include "broker/metadata/embedded_store.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <vector>

#include "broker/metadata/metadata_codec.h"
#include "broker/runtime/random.h"
#include "tests/broker/metadata/test_cluster.h"

using namespace millrace;
using namespace millrace::metadata;

namespace {

Commit commit(EmbeddedDatabase& database, Transaction transaction) {
  Result<Commit> done = database.commit(transaction);
  REQUIRE(done);
  return *done;
}

Commit put(EmbeddedDatabase& database, std::string key, std::string value, LeaseId lease = kNoLease) {
  return commit(database, {{}, {Operation::put(std::move(key), std::move(value), lease)}});
}

std::unique_ptr<EmbeddedDatabase> open(const TestDirectory& directory) {
  auto database = EmbeddedDatabase::open(directory.path());
  REQUIRE(database);
  return std::move(*database);
}

// Those that have something, the oldest first: each process begins one, and what a small store has is in
// them alone.
std::vector<std::filesystem::path> write_ahead_logs(const TestDirectory& directory) {
  std::vector<std::filesystem::path> logs;
  for (const auto& entry : std::filesystem::directory_iterator(directory.path())) {
    if (entry.path().extension() == ".log" && entry.file_size() > 0) logs.push_back(entry.path());
  }
  std::ranges::sort(logs);
  REQUIRE_FALSE(logs.empty());
  return logs;
}

void lose_last_transaction(const TestDirectory& directory) {
  const auto log = write_ahead_logs(directory).back();
  std::filesystem::resize_file(log, std::filesystem::file_size(log) - 1);
}

}  // namespace

TEST_CASE("Keys have the revisions that etcd gives them") {
  TestDirectory directory;
  auto database = open(directory);
  CHECK(database->revision() == 0);
  put(*database, "a", "1");
  put(*database, "b", "1");
  put(*database, "a", "2");
  CHECK(*database->get("a") == KeyValue{"a", "2", 1, 3, 2, kNoLease});
  commit(*database, {{}, {Operation::remove("a"), Operation::put("c", "\n \0x")}});
  CHECK(*database->get("a") == std::nullopt);
  put(*database, "a", "3");
  CHECK(*database->get("a") == KeyValue{"a", "3", 5, 5, 1, kNoLease});
  const Result<RangeResult> all = database->range("");
  REQUIRE(all);
  CHECK(all->revision == 5);
  CHECK(all->entries.size() == 3);
  CHECK(database->range("b")->entries.size() == 1);
}

TEST_CASE("A transaction happens whole or not at all") {
  TestDirectory directory;
  auto database = open(directory);
  put(*database, "a", "1");
  const auto attempt = [&](Compare compare) {
    const int64_t before = database->revision();
    const Commit done =
        commit(*database, {{std::move(compare)}, {Operation::put("x", "1"), Operation::remove("y")}});
    CHECK(database->revision() == before + (done.result.succeeded ? 1 : 0));
    CHECK(done.result.revision == database->revision());
    CHECK(done.events.empty() != done.result.succeeded);
    return done.result.succeeded;
  };
  CHECK(!attempt({"a", Compare::Target::kVersion, 0}));
  CHECK(*database->get("x") == std::nullopt);
  CHECK(attempt({"a", Compare::Target::kVersion, 1}));
  CHECK(!attempt({"a", Compare::Target::kModRevision, 2}));
  CHECK(attempt({"a", Compare::Target::kCreateRevision, 1}));
  CHECK(attempt({"nothing", Compare::Target::kModRevision, 0}));
  CHECK(database->commit({{}, {Operation::put("k", "1"), Operation::remove("k")}}).error().code ==
        ErrorCode::kInvalidRequest);
  CHECK(database->commit({{}, {Operation::put("k", "1", 77)}}).error().code == ErrorCode::kInvalidRequest);
}

TEST_CASE("A prefix is deleted whole, and nothing beside it") {
  TestDirectory directory;
  auto database = open(directory);
  for (const char* key : {"p/1", "p/2", "p/10", "p", "q/1"}) put(*database, key, "v");
  const Commit done = commit(*database, {{}, {Operation::remove_prefix("p/")}});
  REQUIRE(done.events.size() == 3);
  for (const Event& event : done.events) {
    CHECK(event.is_delete);
    CHECK(event.entry.mod_revision == 6);
  }
  CHECK(database->range("")->entries.size() == 2);
}

TEST_CASE("What was committed is there after a restart; what a lease held is not") {
  TestDirectory directory;
  {
    auto database = open(directory);
    const LeaseId lease = database->grant_lease();
    put(*database, "kept", "1");
    put(*database, "leased", "1", lease);
    put(*database, "freed", "1", lease);
    put(*database, "freed", "2");  // a put without a lease takes the key out of it
  }
  auto database = open(directory);
  CHECK(database->revision() == 5);  // the expiry is a transaction too
  CHECK(*database->get("kept") == KeyValue{"kept", "1", 1, 1, 1, kNoLease});
  CHECK(*database->get("leased") == std::nullopt);
  CHECK((*database->get("freed"))->value == "2");
  const LeaseId lease = database->grant_lease();
  put(*database, "leased", "2", lease);
  CHECK(database->has_lease(lease));
  const Result<Commit> revoked = database->revoke_lease(lease);
  REQUIRE(revoked);
  CHECK(revoked->events.size() == 1);
  CHECK(!database->has_lease(lease));
  CHECK(*database->get("leased") == std::nullopt);
}

TEST_CASE("Two processes can't have the store at once") {
  TestDirectory directory;
  auto database = open(directory);
  const auto second = EmbeddedDatabase::open(directory.path());
  REQUIRE(!second);
  CHECK(second.error().code == ErrorCode::kKafkaStorageError);
}

TEST_CASE("A damaged store says where it is and what is to be done") {
  TestDirectory directory;
  put(*open(directory), "a", "1");
  std::ofstream(directory.path() + "/CURRENT") << "damaged";
  const auto opened = EmbeddedDatabase::open(directory.path());
  REQUIRE_FALSE(opened);
  CHECK_THAT(opened.error().message, Catch::StartsWith(directory.path() + " is damaged: "));
  CHECK_THAT(opened.error().message, Catch::Contains("Restore it from a copy"));
}

TEST_CASE("A store that lost what was acknowledged isn't opened until it is put back") {
  TestDirectory directory;
  for (const char* process : {"1", "2", "3"}) {
    auto database = open(directory);
    for (const char* key : {"a", "b", "c"}) put(*database, std::string(key) + process, "1");
  }
  const auto logs = write_ahead_logs(directory);
  REQUIRE(logs.size() == 3);
  const std::filesystem::path log = logs[GENERATE(0u, 1u, 2u)];
  const auto copy = std::filesystem::path(directory.path()) / "copy";
  std::filesystem::copy_file(log, copy);
  const auto size = std::filesystem::file_size(log);
  SECTION("the last transaction") { std::filesystem::resize_file(log, size - 1); }
  SECTION("half of all") { std::filesystem::resize_file(log, size / 2); }
  SECTION("all") { std::filesystem::resize_file(log, 0); }
  SECTION("the file") { std::filesystem::remove(log); }
  for (int start = 0; start < 2; ++start) {
    const auto opened = EmbeddedDatabase::open(directory.path());
    REQUIRE_FALSE(opened);
    CHECK(opened.error().code == ErrorCode::kKafkaStorageError);
    CHECK_THAT(opened.error().message, Catch::StartsWith(directory.path() + " has lost transactions"));
    CHECK_THAT(opened.error().message, Catch::Contains("Restore it from a copy"));
    CHECK_THAT(opened.error().message, Catch::Contains(directory.path() + "/accept-loss"));
  }
  std::filesystem::copy_file(copy, log, std::filesystem::copy_options::overwrite_existing);
  auto database = open(directory);
  CHECK(database->revision() == 9);
  CHECK(database->range("")->entries.size() == 9);
}

TEST_CASE("A store whose deletions or changes are lost isn't opened either") {
  TestDirectory directory;
  for (const char* key : {"a", "b"}) put(*open(directory), key, "1");
  SECTION("a deletion") { commit(*open(directory), {{}, {Operation::remove("a")}}); }
  SECTION("a change") { put(*open(directory), "a", "2"); }
  put(*open(directory), "c", "1");
  CHECK(open(directory)->range("b")->entries.size() == 1);
  const auto logs = write_ahead_logs(directory);
  std::filesystem::remove(logs[logs.size() - 2]);
  CHECK_FALSE(EmbeddedDatabase::open(directory.path()));
}

TEST_CASE("Whoever accepts the loss of transactions gets no revision and no producer id twice") {
  TestDirectory directory;
  const std::string ids(kProducerIdsKey);
  const auto next_id = [&](const EmbeddedDatabase& database) {
    return *decode_producer_ids((*database.get(ids))->value);
  };
  {
    auto database = open(directory);
    put(*database, ids, encode_producer_ids(kProducerIdBlockSize));
    put(*database, ids, encode_producer_ids(2 * kProducerIdBlockSize));
  }
  lose_last_transaction(directory);
  REQUIRE_FALSE(EmbeddedDatabase::open(directory.path()));
  const std::string accept = directory.path() + "/accept-loss";
  std::ofstream(accept).put('\n');
  {
    auto database = open(directory);
    CHECK(database->revision() > 2);
    CHECK(next_id(*database) >= 2 * kProducerIdBlockSize);
  }
  CHECK_FALSE(std::filesystem::exists(accept));
  CHECK(next_id(*open(directory)) >= 2 * kProducerIdBlockSize);
  // And what is acknowledged from now on is missed again.
  put(*open(directory), "a", "1");
  lose_last_transaction(directory);
  CHECK_FALSE(EmbeddedDatabase::open(directory.path()));
}

TEST_CASE("A note of the last revision that is torn, gone or behind keeps nobody from the store") {
  TestDirectory directory;
  for (const char* key : {"a", "b", "c"}) put(*open(directory), key, "1");
  const std::filesystem::path note = directory.path() + "/acknowledged-revision";
  REQUIRE(std::filesystem::exists(note));
  SECTION("torn") { std::filesystem::resize_file(note, std::filesystem::file_size(note) - 1); }
  SECTION("empty") { std::filesystem::resize_file(note, 0); }
  SECTION("gone") { std::filesystem::remove(note); }
  SECTION("of zeros") {
    const std::string zeros(std::filesystem::file_size(note), '\0');
    std::ofstream(note) << zeros;
  }
  {
    auto database = open(directory);
    CHECK(database->range("")->entries.size() == 3);
    put(*database, "d", "1");
  }
  lose_last_transaction(directory);
  CHECK_FALSE(EmbeddedDatabase::open(directory.path()));
}

TEST_CASE("A file of the store that can't be read is named, with what to do") {
  TestDirectory directory;
  put(*open(directory), "a", "1");
  std::filesystem::remove(directory.path() + "/CURRENT");
  std::filesystem::create_directory(directory.path() + "/CURRENT");
  const auto opened = EmbeddedDatabase::open(directory.path());
  REQUIRE_FALSE(opened);
  CHECK_THAT(opened.error().message, Catch::StartsWith(directory.path() + " can't be opened: "));
  CHECK_THAT(opened.error().message, Catch::Contains(directory.path() + "/CURRENT"));
  CHECK_THAT(opened.error().message, Catch::Contains("Restore it from a copy"));
}

TEST_CASE("A watch sees every transaction once and in order, from the revision it asks for") {
  TestDirectory directory;
  TestCluster cluster(directory.path());
  auto body = [&]() -> runtime::Task<> {
    MetadataStore& store = cluster.store();
    const auto commit_put = [&](std::string key) -> runtime::Task<int64_t> {
      Transaction transaction{{}, {Operation::put(std::move(key), "v")}};
      co_return (co_await store.commit(std::move(transaction)))->revision;
    };
    const int64_t start = co_await commit_put("a/0");
    std::unique_ptr<Watch> behind = store.watch("a/", start);
    co_await commit_put("a/1");
    co_await commit_put("b/1");
    Result<WatchBatch> batch = co_await behind->next();
    REQUIRE(batch);
    REQUIRE(batch->events.size() == 1);
    CHECK(batch->events[0].entry.key == "a/1");
    CHECK(batch->revision == start + 2);
    // One that waits.
    auto later = [&]() -> runtime::Task<> {
      co_await runtime::Shard::current()->sleep_ms(2);
      co_await commit_put("a/2");
    };
    runtime::Shard::current()->spawn(later);
    batch = co_await behind->next();
    REQUIRE(batch);
    REQUIRE(batch->events.size() == 1);
    CHECK(batch->events[0].entry.key == "a/2");
    behind->close();
    batch = co_await behind->next();
    REQUIRE(!batch);
    CHECK(batch.error().code == ErrorCode::kOperationNotAttempted);
  };
  cluster.start();
  cluster.shards()[0].run(body);
}

TEST_CASE("A watch that lags too far is told to read again") {
  TestDirectory directory;
  TestCluster cluster(directory.path());
  auto body = [&]() -> runtime::Task<> {
    MetadataStore& store = cluster.store();
    std::unique_ptr<Watch> watch = store.watch("", 0);
    Transaction many;
    for (size_t i = 0; i < EmbeddedStore::kHistoryEvents / 2 + 1; ++i) {
      many.operations.push_back(Operation::put("k" + std::to_string(i), "v"));
    }
    // Not inside Catch's macros: they evaluate a co_await twice.
    const int64_t first = (co_await store.commit(many))->revision;
    const int64_t last = (co_await store.commit(many))->revision;
    REQUIRE(first == 1);
    REQUIRE(last == 2);
    const Result<WatchBatch> batch = co_await watch->next();
    REQUIRE(batch);
    CHECK(batch->compacted);
    std::unique_ptr<Watch> fresh = store.watch("", 1);
    const Result<WatchBatch> second = co_await fresh->next();
    REQUIRE(second);
    CHECK(!second->compacted);
    CHECK(second->revision == 2);
    CHECK(second->events.size() == many.operations.size());
  };
  cluster.shards()[0].run(body);
}
