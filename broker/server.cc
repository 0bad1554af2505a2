#include "broker/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <future>
#include <optional>
#include <random>
#include <thread>
#include <unordered_set>
#include <utility>

#include "broker/advertised_address.h"
#include "broker/api/dispatcher.h"
#include "broker/api/request_metrics.h"
#include "broker/api/services.h"
#include "broker/coordinator/group_service.h"
#include "broker/coordinator/partition_log.h"
#include "broker/group_metrics.h"
#include "broker/metadata/embedded_store.h"
#include "broker/metadata/group_config.h"
#include "broker/metadata/metadata_codec.h"
#include "broker/net/connection_group.h"
#include "broker/net/http_server.h"
#include "broker/net/listener.h"
#include "broker/replication/log_cleaner.h"
#include "broker/replication/scrubber.h"
#include "broker/runtime/logging.h"
#include "broker/topic_metrics.h"
#include "storage/log_directory.h"

namespace millrace::broker {
namespace {

// Requests under way at a stop get this long; clients retry what isn't answered.
constexpr int64_t kStopGraceMs = 200;

uint64_t random_seed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

// Those that this process may run on: under taskset or in a container fewer than the machine has, and shards
// that share a core only hand it to each other.
size_t usable_cores() {
  cpu_set_t cores;
  if (::sched_getaffinity(0, sizeof cores, &cores) != 0) return std::thread::hardware_concurrency();
  return static_cast<size_t>(CPU_COUNT(&cores));
}

size_t shard_count(const metadata::BrokerConfig& config) {
  if (config.shards > 0) return static_cast<size_t>(config.shards);
  return std::max<size_t>(1, usable_cores());
}

// Few, since each keeps the disk busy with large reads, and syncs want it, too.
size_t cold_read_threads(const metadata::BrokerConfig& config) {
  return static_cast<size_t>(std::max(config.background_threads / 2, 1));
}

net::ConnectionOptions connection_options(const metadata::BrokerConfig& config, size_t shards,
                                          runtime::DiskPool& cold_reads) {
  return {
      .max_request_bytes = config.socket_request_max_bytes,
      .idle_ms = config.connections_max_idle_ms,
      .max_connections = static_cast<size_t>(config.max_connections),
      .max_connections_per_ip = static_cast<size_t>(config.max_connections_per_ip),
      // One request of the largest size must fit, or its connection would wait for ever.
      .memory_bytes_per_shard = std::max<int64_t>(
          config.queued_max_request_bytes / static_cast<int64_t>(shards), config.socket_request_max_bytes),
      .cold_reads = &cold_reads};
}

// A failed sync leaves unknown what is on disk; going on would acknowledge what may be lost. That the disk
// was full is no better: the kernel had taken the data and has dropped it now.
void end_after_failed_sync(const Error& error) {
  runtime::log_error(
      "Syncing to disk failed, so this broker stops: {}. No record was acknowledged without the sync "
      "that its topic's flush.messages asks for. Check the disk, then start again.",
      error.message);
  std::_Exit(1);
}

// Keeps a shard's copy of the broker's settings at what AlterConfigs made of them.
class ConfigFollower final : public metadata::ImageListener {
 public:
  ConfigFollower(api::Services& services, runtime::Shard& shard) : services_(services), shard_(shard) {}

  runtime::Task<> on_image(metadata::ImagePtr, metadata::ImagePtr after,
                           const metadata::ImageDelta& delta) override {
    if (delta.broker_configs) {
      services_.of(shard_).config =
          metadata::broker_config(services_.static_config, *after, services_.node_id);
    }
    co_return;
  }

 private:
  api::Services& services_;
  runtime::Shard& shard_;
};

}  // namespace

class Server::Impl {
 public:
  explicit Impl(ServerOptions options)
      : options_(std::move(options)),
        config_(metadata::broker_config(options_.config)),
        shards_(shard_count(config_), clock_, random_seed()),
        disk_pool_(static_cast<size_t>(std::max(config_.background_threads, 1)), shards_.size()),
        cold_reads_(cold_read_threads(config_), shards_.size()),
        sync_pool_(shards_.size(), shards_.size()) {}
  ~Impl() { stop(); }

  Result<> start() {
    if (auto done = bind(); !done) return done;
    if (auto done = open_storage(); !done) return done;
    make_services();
    make_groups();
    if (auto done = start_metadata(); !done) return done;
    serve();
    return {};
  }

  void stop();

  const std::vector<uint16_t>& ports() const { return ports_; }
  uint16_t http_port() const { return http_ ? http_->port() : 0; }
  const std::string& address() const { return address_; }
  const std::string& data_directory() const { return config_.log_dirs; }

 private:
  Result<> bind();
  Result<> serve_http();
  runtime::Task<net::HttpReply> answer_group(std::string path);
  std::string why_not_ready() const;
  Result<> open_storage();
  void make_services();
  void make_groups();
  void start_cleaner();
  void start_scrubber();
  Result<> start_metadata();
  void report_strays();
  runtime::Task<Result<>> finish_deletions();
  void release_journals();
  void remove_retired();
  void serve();
  void close_logs();

  const ServerOptions options_;
  const metadata::BrokerConfig config_;
  const runtime::SystemClock clock_;
  storage::PosixFileSystem files_{end_after_failed_sync};
  runtime::MetricsRegistry registry_;
  runtime::ShardGroup shards_;
  runtime::DiskPool disk_pool_;
  runtime::DiskPool cold_reads_;
  runtime::DiskPool sync_pool_;

  std::vector<std::unique_ptr<net::Listener>> listeners_;
  std::vector<std::string> listener_names_;
  std::vector<uint16_t> ports_;
  std::vector<metadata::Endpoint> endpoints_;
  std::string address_;
  std::unique_ptr<net::HttpServer> http_;

  std::unique_ptr<storage::LogDirectory> log_directory_;
  std::unique_ptr<metadata::EmbeddedStore> store_;
  std::unique_ptr<metadata::MetadataCache> cache_;
  std::unique_ptr<metadata::Controller> controller_;
  std::vector<std::unique_ptr<replication::PartitionTable>> tables_;
  std::unique_ptr<replication::LogCleaner> cleaner_;
  std::unique_ptr<replication::Scrubber> scrubber_;
  std::unique_ptr<api::RequestMetrics> request_metrics_;
  std::unique_ptr<GroupMonitor> group_monitor_;
  std::unique_ptr<api::Services> services_;
  std::vector<std::unique_ptr<ConfigFollower>> config_followers_;
  std::vector<std::unique_ptr<coordinator::GroupShard>> group_shards_;
  std::unique_ptr<coordinator::GroupService> groups_;
  std::unique_ptr<api::Dispatcher> dispatcher_;
  std::unique_ptr<net::ConnectionGroup> connections_;
  // Set by finish_deletions() if it lists them, so that report_strays() needn't read them all again.
  std::optional<std::vector<storage::PartitionDirectory>> directories_;
  std::vector<std::string> directory_problems_;
  bool metadata_started_ = false;
  bool tables_started_ = false;
  bool logs_opened_ = false;
  std::atomic<bool> serving_ = false;
  bool stopped_ = false;
};

Result<> Server::Impl::bind() {
  for (const std::string& text : config_.listeners) {
    const auto address = metadata::parse_listener(text);
    if (!address) return fail(ErrorCode::kInvalidConfig, fmt::format("listeners: can't read {}", text));
    auto listener = net::Listener::open({.host = address->host,
                                         .port = static_cast<uint16_t>(address->port),
                                         .port_hint = options_.port_hint,
                                         .backlog = config_.socket_listen_backlog_size},
                                        shards_[0]);
    if (!listener) return std::unexpected(listener.error());
    ports_.push_back((*listener)->port());
    listener_names_.push_back(address->listener);
    listeners_.push_back(std::move(*listener));
  }
  const std::vector<int32_t> bound(ports_.begin(), ports_.end());
  auto endpoints = advertised_endpoints(config_, bound, NameService::system());
  if (!endpoints) return std::unexpected(endpoints.error());
  endpoints_ = std::move(*endpoints);
  address_ = fmt::format("{}:{}", endpoints_.front().host, endpoints_.front().port);
  return serve_http();
}

// From before the recovery on: whoever watches sees a process that lives and isn't ready yet.
Result<> Server::Impl::serve_http() {
  if (config_.http_listener.empty()) return {};
  const auto address = metadata::parse_host_port(config_.http_listener);
  if (!address) {
    return fail(ErrorCode::kInvalidConfig,
                fmt::format("http.listener: can't read {}", config_.http_listener));
  }
  auto http = net::HttpServer::open({.host = address->first,
                                     .port = static_cast<uint16_t>(address->second),
                                     .port_hint = options_.http_port_hint},
                                    shards_[0]);
  if (!http) return std::unexpected(http.error());
  http_ = std::move(*http);
  add_process_metrics(registry_, clock_);
  http_->add_metrics("/metrics", registry_);
  http_->add_check("/livez", [] { return std::string(); });
  http_->add_check("/readyz", [this] { return why_not_ready(); });
  http_->add_route(std::string(kGroupsPath),
                   [this](const net::HttpRequest& request) { return answer_group(request.path); });
  http_->start();
  return {};
}

runtime::Task<net::HttpReply> Server::Impl::answer_group(std::string path) {
  if (!serving_.load()) co_return net::HttpReply{.status = 503, .body = "starting: recovering logs\n"};
  co_return co_await broker::answer_group(*group_monitor_, std::move(path));
}

std::string Server::Impl::why_not_ready() const {
  if (!serving_.load()) return "starting: recovering logs";
  size_t failed = 0;
  for (const auto& table : tables_) failed += table->failed_count();
  return failed == 0 ? std::string() : fmt::format("{} partitions are out of service, see the log", failed);
}

Result<> Server::Impl::open_storage() {
  std::optional<Result<std::unique_ptr<metadata::EmbeddedStore>>> store;
  auto open_store = [&] {
    store = metadata::EmbeddedStore::open(config_.log_dirs + "/metadata", disk_pool_, end_after_failed_sync);
  };
  auto open_store_on_shard = [&] { shards_[0].run(open_store); };
  std::future<void> opening;
  auto begin_opening = [&] { opening = std::async(std::launch::async, open_store_on_shard); };
  auto log_directory = storage::LogDirectory::open(files_, config_.log_dirs, begin_opening);
  if (opening.valid()) opening.get();
  if (!log_directory) {
    // On its shard, as it is used and destroyed.
    auto close_store = [&] { store.reset(); };
    shards_[0].run(close_store);
    return std::unexpected(log_directory.error());
  }
  log_directory_ = std::move(*log_directory);
  if (!log_directory_->index().rebuilt_because().empty()) {
    runtime::log_warning("The offset index was begun anew and is rebuilt from the segments: {}",
                         log_directory_->index().rebuilt_because());
  }
  if (!*store) return std::unexpected(store->error());
  store_ = std::move(**store);
  return {};
}

void Server::Impl::make_services() {
  cache_ = std::make_unique<metadata::MetadataCache>(shards_, *store_);
  controller_ = std::make_unique<metadata::Controller>(*store_, *cache_, options_.config, config_.node_id,
                                                       shards_[0].random());
  request_metrics_ = std::make_unique<api::RequestMetrics>(registry_);
  services_ =
      std::unique_ptr<api::Services>(new api::Services{.shards = shards_,
                                                       .static_config = options_.config,
                                                       .node_id = config_.node_id,
                                                       .metadata = *cache_,
                                                       .controller = *controller_,
                                                       .describer = {options_.config, config_.node_id},
                                                       .log_directory = *log_directory_,
                                                       .cold_reads = cold_reads_,
                                                       .metrics = *request_metrics_});
  const auto slots = static_cast<size_t>(config_.max_incremental_fetch_session_cache_slots);
  for (const auto& shard : shards_) {
    shard->run([] { storage::OffsetIndex::never_wait_on_this_thread(); });
    tables_.push_back(std::make_unique<replication::PartitionTable>(
        *shard, replication::PartitionTable::Options{.shards = shards_,
                                                     .disk_pool = disk_pool_,
                                                     .sync_pool = sync_pool_,
                                                     .files = files_,
                                                     .log_directory = *log_directory_,
                                                     .static_config = options_.config,
                                                     .node_id = config_.node_id,
                                                     .sync_failed = end_after_failed_sync}));
    services_->by_shard.push_back(std::unique_ptr<api::ShardServices>(new api::ShardServices{
        .partitions = *tables_.back(),
        .fetch_sessions = {static_cast<int32_t>(shard->id()), static_cast<int32_t>(shards_.size()),
                           (slots + shards_.size() - 1) / shards_.size()},
        .config = config_}));
    config_followers_.push_back(std::make_unique<ConfigFollower>(*services_, *shard));
    cache_->add_listener(*shard, *config_followers_.back());
    cache_->add_listener(*shard, *tables_.back());
  }
}

// After the partitions, in which the coordinators keep their groups.
void Server::Impl::make_groups() {
  std::vector<coordinator::GroupShard*> by_shard;
  auto group_config = [this](const metadata::ConfigMap& configs) {
    return metadata::group_config(configs, config_);
  };
  for (size_t i = 0; i < tables_.size(); ++i) {
    auto open_log = [this, i](const TopicIdPartition& id) -> std::unique_ptr<coordinator::CoordinatorLog> {
      auto partition = tables_[i]->find(id);
      if (!partition) return nullptr;
      return std::make_unique<coordinator::PartitionLog>(std::move(partition), disk_pool_,
                                                         services_->write_trouble);
    };
    group_shards_.push_back(std::make_unique<coordinator::GroupShard>(
        shards_[i], coordinator::GroupShard::Options{.shards = shards_,
                                                     .node_id = config_.node_id,
                                                     .settings = coordinator::group_settings(config_),
                                                     .group_config = group_config,
                                                     .open_log = std::move(open_log)}));
    by_shard.push_back(group_shards_.back().get());
    cache_->add_listener(shards_[i], *group_shards_.back());
  }
  groups_ = std::make_unique<coordinator::GroupService>(shards_, *cache_, *controller_, config_,
                                                        std::move(by_shard));
  services_->groups = groups_.get();
}

Result<> Server::Impl::start_metadata() {
  metadata_started_ = true;
  for (size_t i = 0; i < tables_.size(); ++i) {
    auto start = [table = tables_[i].get()] { table->start(); };
    shards_[i].run(start);
  }
  tables_started_ = true;
  auto finish_deletions = [&] { return this->finish_deletions(); };
  if (auto finished = shards_[0].run(finish_deletions); !finished) return finished;
  auto start_cache = [&] { return cache_->start(); };
  if (auto started = shards_[0].run(start_cache); !started) return started;
  logs_opened_ = true;
  metadata::BrokerRegistration registration{.endpoints = endpoints_};
  if (!config_.broker_rack.empty()) registration.rack = config_.broker_rack;
  auto start_controller = [&] { return controller_->start(std::move(registration)); };
  if (auto started = shards_[0].run(start_controller); !started) return started;
  auto cluster_id = [&] { return cache_->image()->cluster_id().to_string(); };
  release_journals();
  if (auto claimed = log_directory_->claim({shards_[0].run(cluster_id), config_.node_id}); !claimed)
    return claimed;
  report_strays();
  return {};
}

// Takes away the partitions of topics that were deleted while a kill kept the shards from it. Before the logs
// are opened: a new topic may have an old one's name.
runtime::Task<Result<>> Server::Impl::finish_deletions() {
  const std::string prefix(metadata::kDeletedTopicsPrefix);
  const auto deleted = co_await store_->range(prefix);
  if (!deleted) co_return std::unexpected(deleted.error());
  if (deleted->entries.empty()) co_return Result<>{};
  std::unordered_set<std::string> ids;
  for (const auto& entry : deleted->entries) ids.insert(entry.key.substr(prefix.size()));
  auto retire = [&]() -> Result<> {
    auto directories = log_directory_->list(&directory_problems_);
    if (!directories) return std::unexpected(directories.error());
    directories_.emplace();
    for (auto& directory : *directories) {
      if (!ids.contains(directory.id.topic_id.to_string())) {
        directories_->push_back(std::move(directory));
      } else if (auto retired = log_directory_->retire(directory); !retired) {
        return retired;
      }
    }
    return {};
  };
  const Result<> retired = co_await disk_pool_.run(retire);
  if (!retired) co_return retired;
  metadata::Transaction forget{.compares = {}, .operations = {metadata::Operation::remove_prefix(prefix)}};
  const auto forgotten = co_await store_->commit(std::move(forget));
  co_return forgotten ? Result<>{} : std::unexpected(forgotten.error());
}

// Of what the journals of a killed broker had, only logs that could not be opened yet may still need
// something.
void Server::Impl::release_journals() {
  for (const std::string& damage : log_directory_->journals().damages()) runtime::log_error("{}", damage);
  std::unordered_set<TopicIdPartition> failed;
  for (size_t i = 0; i < tables_.size(); ++i) {
    auto ids_of = [table = tables_[i].get()] { return table->failed(); };
    for (const TopicIdPartition& id : shards_[i].run(ids_of)) failed.insert(id);
  }
  log_directory_->journals().keep_for(std::move(failed));
}

// Directories of partitions that the metadata doesn't know: left alone, since only a person can tell whether
// they are another cluster's or data whose metadata was lost. No deletion leaves one behind, so the second
// comes first, and nobody is told to remove what may be the only copy.
void Server::Impl::report_strays() {
  if (!directories_) {
    auto listed = log_directory_->list(&directory_problems_);
    if (!listed) return runtime::log_warning("{}", listed.error().message);
    directories_ = std::move(*listed);
  }
  const auto directories = std::move(*std::exchange(directories_, std::nullopt));
  for (const std::string& problem : std::exchange(directory_problems_, {}))
    runtime::log_warning("{}", problem);
  auto find_strays = [&] {
    std::vector<std::string> strays;
    for (const auto& directory : directories) {
      if (cache_->image()->partition(directory.id) == nullptr) strays.push_back(directory.path);
    }
    return strays;
  };
  const std::vector<std::string> strays = shards_[0].run(find_strays);
  auto count_topics = [&] { return cache_->image()->topics().size(); };
  const size_t topics = shards_[0].run(count_topics);
  const std::string metadata = config_.log_dirs + "/metadata";
  if (strays.size() > 1 || (strays.size() == 1 && topics == 0)) {
    runtime::log_error(
        "{} of the partitions in {}/topics belong to none of the {} topics that {} knows: it may have lost "
        "topics, or be older than they are. Then stop the broker and restore it from a newer copy before "
        "anybody makes these topics anew. The records are left alone",
        strays.size(), config_.log_dirs, topics, metadata);
  }
  for (const std::string& path : strays) {
    runtime::log_warning(
        "{} belongs to no topic of this cluster; it is left alone. If its topic should be there, {} is what "
        "is lost or too old; if not, move the directory elsewhere",
        path, metadata);
  }
}

// What an earlier run deleted and had no time to remove.
void Server::Impl::remove_retired() {
  shards_[0].spawn([this]() -> runtime::Task<> {
    auto remove = [this] { return log_directory_->remove_retired(); };
    const auto removed = co_await disk_pool_.run(remove);
    if (!removed)
      runtime::log_warning("Deleted partitions could not be removed: {}", removed.error().message);
  });
}

void Server::Impl::start_cleaner() {
  std::vector<replication::PartitionTable*> tables;
  for (const auto& table : tables_) tables.push_back(table.get());
  cleaner_ = std::make_unique<replication::LogCleaner>(
      replication::LogCleaner::Options{.shards = shards_,
                                       .tables = std::move(tables),
                                       .disk_pool = disk_pool_,
                                       .files = files_,
                                       .index = log_directory_->index(),
                                       .config = [this] { return services_->of(shards_[0]).config; },
                                       .sync_failed = end_after_failed_sync});
  cleaner_->add_metrics(registry_);
  auto start = [this] { cleaner_->start(); };
  shards_[0].run(start);
}

void Server::Impl::start_scrubber() {
  std::vector<replication::PartitionTable*> tables;
  for (const auto& table : tables_) tables.push_back(table.get());
  scrubber_ = std::make_unique<replication::Scrubber>(
      replication::Scrubber::Options{.shards = shards_,
                                     .tables = std::move(tables),
                                     .disk_pool = cold_reads_,
                                     .files = files_,
                                     .index = log_directory_->index(),
                                     .config = [this] { return services_->of(shards_[0]).config; }});
  scrubber_->add_metrics(registry_);
  auto start = [this] { scrubber_->start(); };
  shards_[0].run(start);
}

void Server::Impl::serve() {
  remove_retired();
  start_cleaner();
  start_scrubber();
  add_topic_metrics(registry_, *services_);
  group_monitor_ = std::make_unique<GroupMonitor>(*services_);
  add_group_metrics(registry_, *group_monitor_);
  dispatcher_ = std::make_unique<api::Dispatcher>(*services_);
  connections_ = std::make_unique<net::ConnectionGroup>(
      shards_, *dispatcher_, connection_options(config_, shards_.size(), cold_reads_), registry_);
  for (size_t i = 0; i < listeners_.size(); ++i) {
    listeners_[i]->start([this, name = listener_names_[i], port = ports_[i]](net::OwnedFd fd) {
      connections_->adopt(std::move(fd), name, port);
    });
  }
  serving_.store(true);
}

void Server::Impl::stop() {
  if (std::exchange(stopped_, true)) return;
  if (http_) http_->stop();
  for (const auto& listener : listeners_) listener->stop();
  // Whoever waits for a rebalance is told to look for another coordinator, so that connections can end.
  if (metadata_started_) groups_->stop();
  if (connections_) connections_->stop(kStopGraceMs);
  if (metadata_started_) {
    auto stop_metadata = [&]() -> runtime::Task<> {
      co_await controller_->stop();
      co_await cache_->stop();
    };
    shards_[0].run(stop_metadata);
  }
  if (scrubber_) {
    auto stop_scrubber = [this] { return scrubber_->stop(); };
    shards_[0].run(stop_scrubber);
  }
  if (cleaner_) {
    auto stop_cleaner = [this] { return cleaner_->stop(); };
    shards_[0].run(stop_cleaner);
  }
  if (tables_started_) close_logs();
  if (store_) {
    auto destroy = [&] { store_.reset(); };
    shards_[0].run(destroy);
  }
  disk_pool_.stop();
  cold_reads_.stop();
  sync_pool_.stop();
  shards_.stop();
}

void Server::Impl::close_logs() {
  size_t failures = 0;
  for (size_t i = 0; i < tables_.size(); ++i) {
    auto stop_table = [table = tables_[i].get()] { return table->stop(); };
    failures += shards_[i].run(stop_table);
  }
  for (const auto& table : tables_) failures += table->failed_count();
  // Only if every log was open and is closed may the next start believe the index without a look at the
  // segments.
  if (failures > 0 || !logs_opened_) return;
  if (const auto marked = log_directory_->mark_clean_shutdown(); !marked) {
    runtime::log_error("The stop could not be marked as clean, so the next start looks at every log: {}",
                       marked.error().message);
  }
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::start(ServerOptions options) {
  auto impl = std::make_unique<Impl>(std::move(options));
  if (auto started = impl->start(); !started) return std::unexpected(started.error());
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

void Server::stop() { impl_->stop(); }
const std::vector<uint16_t>& Server::ports() const { return impl_->ports(); }
uint16_t Server::http_port() const { return impl_->http_port(); }
const std::string& Server::address() const { return impl_->address(); }
const std::string& Server::data_directory() const { return impl_->data_directory(); }

}  // namespace millrace::broker
