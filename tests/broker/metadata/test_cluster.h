// A metadata store, cache and controller on two shards, in a directory of its own that outlives restarts.
#pragma once

#include <stdlib.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "broker/metadata/controller.h"
#include "broker/metadata/embedded_store.h"
#include "broker/metadata/metadata_cache.h"
#include "broker/runtime/disk_pool.h"
#include "broker/runtime/shard_group.h"

namespace millrace::metadata {

class TestDirectory {
 public:
  TestDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "millrace-metadata-XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~TestDirectory() { std::filesystem::remove_all(path_); }
  TestDirectory(const TestDirectory&) = delete;
  std::string path() const { return path_; }

 private:
  std::string path_;
};

class TestCluster {
 public:
  explicit TestCluster(std::string directory, StaticConfig config = {}, uint64_t seed = 1)
      : config_(std::move(config)),
        shards_(2, runtime::SystemClock::instance(), seed),
        pool_(2, 2),
        random_(seed) {
    auto make = [&] {
      auto opened = EmbeddedStore::open(directory, pool_);
      if (!opened) throw std::runtime_error(opened.error().message);
      store_ = std::move(*opened);
      cache_ = std::make_unique<MetadataCache>(shards_, *store_);
      controller_ = std::make_unique<Controller>(*store_, *cache_, config_, 1, random_);
    };
    shards_[0].run(make);
  }
  // Ends as a killed process does: nothing is given back.
  ~TestCluster() {
    auto end = [this]() -> runtime::Task<> {
      co_await cache_->stop();
      controller_.reset();
      cache_.reset();
      store_.reset();
    };
    shards_[0].run(end);
    pool_.stop();
    shards_.stop();
  }

  void listen(size_t shard, ImageListener& listener) { cache_->add_listener(shards_[shard], listener); }
  void start() {
    auto begin = [this]() -> runtime::Task<> {
      const Result<> cache = co_await cache_->start();
      if (!cache) throw std::runtime_error(cache.error().message);
      BrokerRegistration registration;
      registration.endpoints.push_back({"PLAINTEXT", "127.0.0.1", 9092, "PLAINTEXT"});
      const Result<> controller = co_await controller_->start(std::move(registration));
      if (!controller) throw std::runtime_error(controller.error().message);
    };
    shards_[0].run(begin);
  }

  // Awaits what f(controller) returns.
  template <class F>
  auto call(F f) {
    auto body = [this, &f] { return f(*controller_); };
    return shards_[0].run(body);
  }
  // What the shard sees.
  ImagePtr image(size_t shard = 0) {
    auto read = [this] { return cache_->image(); };
    return shards_[shard].run(read);
  }
  MetadataStore& store() { return *store_; }
  MetadataCache& cache() { return *cache_; }
  runtime::ShardGroup& shards() { return shards_; }
  const StaticConfig& config() const { return config_; }

  std::vector<CreateTopicResult> create(std::vector<NewTopic> topics, bool validate_only = false) {
    return call([&](Controller& c) { return c.create_topics(topics, validate_only); });
  }
  Error create(NewTopic topic) { return create(std::vector{std::move(topic)}).at(0).error; }
  std::vector<DeleteTopicResult> remove(std::vector<DeleteTopic> topics) {
    return call([&](Controller& c) { return c.delete_topics(topics); });
  }
  Error grow(NewPartitions partitions, bool validate_only = false) {
    return call([&](Controller& c) { return c.create_partitions({partitions}, validate_only); }).at(0).error;
  }
  Error alter(ResourceType type, std::string name, std::vector<ConfigChange> changes,
              bool validate_only = false) {
    const std::vector<AlterResource> resources{{type, std::move(name), std::move(changes)}};
    return call([&](Controller& c) { return c.alter_configs(resources, validate_only); }).at(0).error;
  }

 private:
  StaticConfig config_;
  runtime::ShardGroup shards_;
  runtime::DiskPool pool_;
  runtime::Random random_;
  std::unique_ptr<EmbeddedStore> store_;
  std::unique_ptr<MetadataCache> cache_;
  std::unique_ptr<Controller> controller_;
};

}  // namespace millrace::metadata
