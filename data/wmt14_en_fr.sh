#!/bin/sh
# WMT'14 English-French as the original's pre-process/wmt14en-fr.sh makes it: Europarl v7, Common Crawl, UN, News Commentary
# v9 and Giga; 40,000 merges; each 1333rd pair is valid, newstest2014 test. Of 40.8 million pairs. --archives DIR
# takes what you have.
exec sh "$(dirname "$0")/translation_corpus.sh" wmt14_en_fr en fr "$@"
