// File slices between bytes from memory, to fast and slow readers.
#include "broker/net/response_writer.h"

#include <fcntl.h>

#include <atomic>
#include <future>
#include <thread>

#include "tests/broker/net/loopback.h"
#include "tests/storage/cold_file_system.h"
#include "tests/storage/fault_file_system.h"

using namespace millrace;
using namespace millrace::net;
using namespace millrace::net::testing;
using runtime::Task;

namespace {

// A file of bytes that say where they are; gone from the directory at once.
struct TestFile {
  explicit TestFile(size_t size) {
    char path[] = "/tmp/millrace_splice_XXXXXX";
    ::close(::mkstemp(path));
    file = *storage::PosixFileSystem().open(path, storage::OpenMode::kReadWrite);
    ::unlink(path);
    content.resize(size);
    for (size_t i = 0; i < size; ++i) content[i] = static_cast<char>((i * 2654435761u) >> 13);
    const Bytes pieces[] = {as_bytes(content)};
    REQUIRE(file->write_at(pieces, 0));
  }
  std::shared_ptr<storage::File> file;
  std::string content;
};

Response::Splice splice(const std::shared_ptr<TestFile>& file, size_t at, int64_t position, size_t size) {
  Response::Splice result;
  result.at = at;
  result.slice.file = file->file;
  result.slice.position = position;
  result.slice.size = size;
  return result;
}

}  // namespace

TEST_CASE("slices arrive in their places, byte for byte", "[response_writer]") {
  auto file = std::make_shared<TestFile>(6'000'000);
  struct Part {
    size_t at;
    int64_t position;
    size_t size;
  };
  const std::vector<Part> parts =
      GENERATE(std::vector<Part>{{10, 0, 100}},           //
               std::vector<Part>{{0, 5, 1}},              // in front
               std::vector<Part>{{26, 1000, 5'000'000}},  // at the end
               std::vector<Part>{{3, 7, 0}},              // nothing
               std::vector<Part>{{5, 0, 70'000}, {5, 1, 3}, {20, 4096, 2'000'000}, {26, 9, 9}});
  const bool slow = GENERATE(false, true);
  const std::string text = "abcdefghijklmnopqrstuvwxyz";
  Network network([&](Request&) -> Task<Response> {
    Response response;
    response.bytes.assign(as_bytes(text).begin(), as_bytes(text).end());
    for (const Part& part : parts)
      response.splices.push_back(splice(file, part.at, part.position, part.size));
    co_return response;
  });
  std::string expected;
  size_t position = 0;
  for (const Part& part : parts) {
    expected += text.substr(position, part.at - position) +
                file->content.substr(static_cast<size_t>(part.position), part.size);
    position = part.at;
  }
  expected += text.substr(position);
  Client client(network.port(), slow ? 2048 : 0);
  REQUIRE(client.send(request_bytes(1, 1) + request_bytes(1, 2)));
  if (slow) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  for (int i = 0; i < 2; ++i) {
    const auto response = client.receive_response();
    REQUIRE(response);
    CHECK((*response == expected));
  }
}

TEST_CASE("a slice keeps its file open until it is sent", "[response_writer]") {
  std::weak_ptr<storage::File> watched;
  std::string content;
  Network network([&](Request& request) -> Task<Response> {
    auto file = std::make_shared<TestFile>(3'000'000);
    watched = file->file;
    content = file->content;
    Response response = echo(request);
    response.splices.push_back(splice(file, 4, 0, file->content.size()));
    co_return response;
  });
  Client client(network.port(), 4096);
  REQUIRE(client.send(request_bytes(1, 1)));
  const auto response = client.receive_response();
  REQUIRE(response);
  CHECK((response->substr(4) == content));
  CHECK(eventually([&] { return watched.expired(); }));
}

TEST_CASE("a slice that its file can't fill closes the connection", "[response_writer]") {
  auto file = std::make_shared<TestFile>(1000);
  const bool closed_file = GENERATE(false, true);
  storage::test::FaultFileSystem in_memory;
  const auto without_descriptor = *in_memory.open("/file", storage::OpenMode::kCreate);
  Network network([&](Request& request) -> Task<Response> {
    Response response = echo(request);
    response.splices.push_back(splice(file, 4, 500, 501));
    if (closed_file) response.splices.back().slice.file = without_descriptor;
    co_return response;
  });
  Client client(network.port());
  REQUIRE(client.send(request_bytes(1, 1)));
  CHECK_FALSE(client.receive_response());
  CHECK(eventually([&] { return network.counter("millrace_connections_broken_total") == 1; }));
  Client other(network.port());
  CHECK(other.connected());
}

TEST_CASE("a reader that goes away in the middle costs nobody else anything", "[response_writer]") {
  auto file = std::make_shared<TestFile>(8'000'000);
  Network network([&](Request& request) -> Task<Response> {
    Response response = echo(request);
    response.splices.push_back(splice(file, 4, 0, file->content.size()));
    co_return response;
  });
  for (int i = 0; i < 20; ++i) {
    Client gone(network.port(), 2048);
    REQUIRE(gone.send(request_bytes(1, 1)));
    CHECK(gone.receive(1000).size() == 1000);
    if (i % 2 == 0) gone.reset();
  }
  Client client(network.port());
  REQUIRE(client.send(request_bytes(1, 1)));
  CHECK(client.receive_response());
  CHECK(eventually([&] { return network.group.connection_count() == 1; }));
}

TEST_CASE("a slice that isn't in memory is loaded beside the shard, which serves others meanwhile",
          "[response_writer]") {
  auto file = std::make_shared<TestFile>(3'000'000);
  storage::test::Disk disk;
  disk.drop_caches();
  std::promise<void> loading;
  std::promise<void> may_load;
  disk.before_load([&, first = true]() mutable {
    if (!std::exchange(first, false)) return;
    loading.set_value();
    may_load.get_future().wait();
  });
  const auto cold = std::make_shared<storage::test::ColdFile>(file->file, disk);
  constexpr int16_t kCold = 1;
  runtime::DiskPool pool(1, 1);
  ConnectionOptions options;
  options.cold_reads = &pool;
  std::atomic<std::thread::id> shard_thread;
  Network network(
      [&](Request& request) -> Task<Response> {
        shard_thread = std::this_thread::get_id();
        Response response = echo(request);
        response.splices.push_back({.at = 4, .slice = {file->file, 1000, 2'500'000}});
        if (request.api_key == kCold) response.splices.back().slice.file = cold;
        co_return response;
      },
      options, 1);
  Client reader(network.port());
  REQUIRE(reader.send(request_bytes(kCold, 1)));
  loading.get_future().wait();
  Client other(network.port());
  REQUIRE(other.send(request_bytes(2, 2)));
  CHECK(other.receive_response());
  CHECK(disk.loaders().empty());
  may_load.set_value();
  const auto response = reader.receive_response();
  REQUIRE(response);
  CHECK((response->substr(4) == file->content.substr(1000, 2'500'000)));
  REQUIRE(disk.loaders().size() > 1);
  for (const std::thread::id loader : disk.loaders()) CHECK(loader != shard_thread.load());
  pool.stop();
}
