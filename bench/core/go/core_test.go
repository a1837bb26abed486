// Go's sync.WaitGroup, golang.org/x/sync/errgroup and context. Each benchmark is BenchmarkWork/subject; ../works.py lists
// the works.
package bench

import (
	"context"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sync/errgroup"
)

const (
	million  = 1000000
	limited  = 100000 // tasks under a limit
	thousand = 1000
	queued   = 200000
)

func nothing() error { return nil }

func BenchmarkAddDone(b *testing.B) {
	b.Run("WaitGroup", func(b *testing.B) {
		var wg sync.WaitGroup
		for i := 0; i < b.N; i++ {
			wg.Add(1)
			wg.Done()
		}
	})
}

func BenchmarkAddDoneTwo(b *testing.B) {
	b.Run("WaitGroup", func(b *testing.B) {
		var wg sync.WaitGroup
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				wg.Add(1)
				wg.Done()
			}
		})
	})
}

func BenchmarkWaitZero(b *testing.B) {
	b.Run("WaitGroup", func(b *testing.B) {
		var wg sync.WaitGroup
		for i := 0; i < b.N; i++ {
			wg.Wait()
		}
	})
}

// Global, as a context handed down from elsewhere: the compiler knows no more than its interface.
var (
	ctx context.Context
	err error
)

func benchmarkStatus(b *testing.B, cancelled bool) {
	b.Run("context", func(b *testing.B) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(context.Background())
		defer cancel()
		if cancelled {
			cancel()
		}
		b.ResetTimer()
		for i := 0; i < b.N; i++ {
			err = ctx.Err()
		}
	})
}

func BenchmarkStatusLive(b *testing.B)      { benchmarkStatus(b, false) }
func BenchmarkStatusCancelled(b *testing.B) { benchmarkStatus(b, true) }

func BenchmarkChildContext(b *testing.B) {
	b.Run("context", func(b *testing.B) {
		parent, cancelParent := context.WithCancel(context.Background())
		defer cancelParent()
		b.ResetTimer()
		for i := 0; i < b.N; i++ {
			_, cancel := context.WithCancel(parent)
			cancel()
		}
	})
}

func runErrgroup(g *errgroup.Group, n int) {
	for i := 0; i < n; i++ {
		g.Go(nothing)
	}
	if g.Wait() != nil {
		panic("a task that returns nil failed")
	}
}

func runWaitGroup(n int) {
	var wg sync.WaitGroup
	for i := 0; i < n; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
		}()
	}
	wg.Wait()
}

// One pass to warm up, as the other subjects have.
func benchmarkPass(b *testing.B, name string, pass func()) {
	b.Run(name, func(b *testing.B) {
		pass()
		b.ResetTimer()
		for i := 0; i < b.N; i++ {
			pass()
		}
	})
}

func BenchmarkMillionTasks(b *testing.B) {
	benchmarkPass(b, "errgroup", func() { runErrgroup(new(errgroup.Group), million) })
	benchmarkPass(b, "WaitGroup", func() { runWaitGroup(million) })
}

func BenchmarkLimitedTasks(b *testing.B) {
	benchmarkPass(b, "errgroup", func() {
		g := new(errgroup.Group)
		g.SetLimit(2)
		runErrgroup(g, limited)
	})
}

func BenchmarkOneTask(b *testing.B) {
	b.Run("errgroup", func(b *testing.B) {
		for i := 0; i < b.N; i++ {
			runErrgroup(new(errgroup.Group), 1)
		}
	})
	b.Run("errgroup with context", func(b *testing.B) {
		for i := 0; i < b.N; i++ {
			g, _ := errgroup.WithContext(context.Background())
			runErrgroup(g, 1)
		}
	})
	b.Run("WaitGroup", func(b *testing.B) {
		for i := 0; i < b.N; i++ {
			runWaitGroup(1)
		}
	})
}

func BenchmarkMeeting(b *testing.B) {
	b.Run("errgroup", func(b *testing.B) {
		for i := 0; i < b.N; i++ {
			var all sync.WaitGroup
			all.Add(thousand)
			var g errgroup.Group
			for j := 0; j < thousand; j++ {
				g.Go(func() error {
					all.Done()
					all.Wait()
					return nil
				})
			}
			g.Wait()
		}
	})
}

func BenchmarkObjectSize(b *testing.B) {
	b.Run("WaitGroup", func(b *testing.B) {
		b.ReportMetric(float64(unsafe.Sizeof(sync.WaitGroup{})), "value")
	})
}

func resident() float64 {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		panic(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	if err != nil {
		panic(err)
	}
	return float64(pages * os.Getpagesize())
}

// Go has no queue apart from goroutines: these wait for their start.
func BenchmarkQueuedResident(b *testing.B) {
	b.Run("errgroup", func(b *testing.B) {
		for i := 0; i < b.N; i++ {
			var g errgroup.Group
			start := make(chan struct{})
			before := resident()
			for j := 0; j < queued; j++ {
				g.Go(func() error {
					<-start
					return nil
				})
			}
			runtime.Gosched()
			b.ReportMetric((resident()-before)/queued, "value")
			close(start)
			g.Wait()
		}
	})
}
